"""What Dovecot is told, in the words of 2.3 (Debian 12) and of 2.4 (Debian 13): the same server.

Facts behind the settings: the anvil penalty would make each login after a failure wait seconds;
bearer tokens are checked locally (HS256), so no HTTP is needed; `login_trusted_networks` lets the
guard tell the client's address by IMAP ID.
"""

import subprocess
from string import Template

V2_3 = Template("""\
base_dir = $base/run
state_dir = $base/state
instance_name = gk-$imap
log_path = $base/log
auth_verbose = yes
login_log_format_elements = user=<%u> method=%m rip=%r rport=%{rport} %c %k
protocols = imap lmtp
listen = 127.0.0.1
ssl = yes
ssl_cert = <$certificate
ssl_key = <$private_key
ssl_min_protocol = TLSv1.2
disable_plaintext_auth = no
auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256 oauthbearer xoauth2
auth_failure_delay = $failure_delay
first_valid_uid = 1
first_valid_gid = 1
mail_uid = mail
mail_gid = mail
mail_location = maildir:$base/mail/%u
haproxy_trusted_networks = 127.0.0.0/8
haproxy_timeout = 3s
login_trusted_networks = 127.0.0.0/8
default_vsz_limit = 512M
mail_max_userip_connections = 10000
namespace inbox {
  inbox = yes
}
passdb {
  driver = oauth2
  mechanisms = oauthbearer xoauth2
  args = $base/etc/oauth2.conf.ext
}
passdb {
  driver = passwd-file
  mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256
  args = scheme=PLAIN username_format=%u $base/etc/passwd
}
userdb {
  driver = static
  args = uid=mail gid=mail home=$base/mail/%u allow_all_users=yes
}
service imap-login {
  service_count = 0
  process_min_avail = 1
  chroot =
  inet_listener imap {
    port = $imap
  }
  inet_listener imaps {
    port = $imaps
    ssl = yes
  }
  inet_listener imap_haproxy {
    port = $imap_haproxy
    haproxy = yes
  }
}
service auth {
  inet_listener {
    address = 127.0.0.1
    port = $auth
  }
}
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service lmtp {
  inet_listener lmtp {
    address = 127.0.0.1
    port = $lmtp
  }
}
protocol lmtp {
  postmaster_address = postmaster@example.test
}
""")

# 2.3 reads this from a file of its own.
TOKENS_V2_3 = Template("""\
introspection_mode = local
local_validation_key_dict = fs:posix:prefix=$base/etc/jwtkeys/
username_attribute = email
""")

V2_4 = Template("""\
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
base_dir = $base/run
state_dir = $base/state
instance_name = gk-$imap
log_path = $base/log
auth_verbose = yes
login_log_format_elements = user=<%{user}> method=%{mechanism} rip=%{remote_ip} %{secured}
protocols = imap lmtp
listen = 127.0.0.1
ssl = yes
ssl_server_cert_file = $certificate
ssl_server_key_file = $private_key
ssl_min_protocol = TLSv1.2
auth_allow_cleartext = yes
auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256 oauthbearer xoauth2
auth_failure_delay = $failure_delay
first_valid_uid = 1
first_valid_gid = 1
mail_uid = mail
mail_gid = mail
mail_driver = maildir
mail_path = $base/mail/%{user}
haproxy_trusted_networks = 127.0.0.0/8
haproxy_timeout = 3s
login_trusted_networks = 127.0.0.0/8
default_vsz_limit = 512M
mail_max_userip_connections = 10000
namespace inbox {
  inbox = yes
}
oauth2 {
  introspection_mode = local
  username_attribute = email
  oauth2_local_validation {
    dict fs {
      fs posix {
        prefix = $base/etc/jwtkeys/
      }
    }
  }
}
passdb passwd-file {
  passwd_file_path = $base/etc/passwd
}
userdb static {
  allow_all_users = yes
  fields {
    uid = mail
    gid = mail
    home = $base/mail/%{user}
  }
}
service imap-login {
  restart_request_count = unlimited
  process_min_avail = 1
  chroot =
  inet_listener imap {
    port = $imap
  }
  inet_listener imaps {
    port = $imaps
    ssl = yes
  }
  inet_listener imap_haproxy {
    port = $imap_haproxy
    haproxy = yes
  }
}
service auth {
  inet_listener auth {
    listen = 127.0.0.1
    port = $auth
  }
}
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service lmtp {
  inet_listener lmtp {
    listen = 127.0.0.1
    port = $lmtp
  }
}
protocol lmtp {
  postmaster_address = postmaster@example.test
}
""")


def configuration() -> Template:
    """The words that the installed Dovecot understands."""
    version = subprocess.run(
        ["/usr/sbin/dovecot", "--version"], capture_output=True, text=True, check=True
    ).stdout
    return V2_3 if version.startswith("2.3.") else V2_4

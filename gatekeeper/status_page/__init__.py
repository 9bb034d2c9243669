"""The status page: one page in a browser on this host, drawn from the guard's own answers.

`pages` is the table of its paths, `ban_search` finds bans among a million, `lifting` is the one
thing the page can change. What the browser runs lies beside them: HTML, CSS and JavaScript as they
are served, without a framework, a build or anything from elsewhere.
"""

"""The guard beside nginx's mail proxy and HAProxy: same load, same backend, one worker each."""

/* A flood of connections: from SOURCES addresses of 10.0.0.0/8 to TARGET PORT, RATE a second, for
 * SECONDS. Each sends the beginning of a ClientHello where it is let in: the kernel may hand only
 * such to the guard. After HELD_MS it is given up. At the end one line: tried, let in, late (behind
 * the rate and left out).
 *
 * The addresses are this host's by a local route of their whole network. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HELD_MS 100
#define GREET_MS 5 /* a thousand times what the handshake takes */
#define PENDING_MAX 8192 /* of which RATE * HELD_MS / 1000 are used */
#define NETWORK 0x0a000000U
#define SPREAD 40503U /* as bench/kernel/stage.py numbers addresses */
#define NS 1000000000ULL
#define MS 1000000ULL

struct pending {
	int fd;
	uint64_t since_ns;
};

static struct pending pending[PENDING_MAX]; /* a ring, oldest first */
static unsigned head, greeted, tail;
static const char hello[] = {0x16, 3, 1, 2, 0, 1, 0, 1};
static unsigned long tried, opened, late;

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NS + now.tv_nsec;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void finish(int fd)
{
	struct pollfd state = {.fd = fd, .events = POLLOUT};
	struct linger reset = {.l_onoff = 1};
	socklen_t length = sizeof(int);
	int error = 0;

	if (poll(&state, 1, 0) == 1 && (state.revents & (POLLOUT | POLLHUP))) {
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
		/* Reset by the other end: it was let in and then refused. */
		if (error == 0 || error == ECONNRESET || error == EPIPE)
			opened++;
	}
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	close(fd);
}

static void greet(uint64_t now)
{
	while (greeted != head && now - pending[greeted % PENDING_MAX].since_ns > GREET_MS * MS)
		send(pending[greeted++ % PENDING_MAX].fd, hello, sizeof hello, MSG_NOSIGNAL);
}

static void expire(uint64_t now)
{
	while (tail != head && now - pending[tail % PENDING_MAX].since_ns > HELD_MS * MS)
		finish(pending[tail++ % PENDING_MAX].fd);
}

static void start(uint32_t source, const struct sockaddr_in *target, uint64_t now)
{
	struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(source)};
	int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		fail("socket");
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
	if (bind(fd, (struct sockaddr *)&own, sizeof own) != 0)
		fail("bind");
	if (connect(fd, (const struct sockaddr *)target, sizeof *target) != 0 && errno != EINPROGRESS)
		fail("connect");
	if (head - tail == PENDING_MAX) {
		fprintf(stderr, "flood: too many at once\n");
		exit(1);
	}
	pending[head++ % PENDING_MAX] = (struct pending){fd, now};
	tried++;
}

int main(int argc, char **argv)
{
	struct sockaddr_in target = {.sin_family = AF_INET};
	struct timespec nap = {.tv_nsec = 500000};
	uint32_t sources;
	uint64_t begun, now, due, rate, seconds, planned = 0;

	if (argc != 6 || inet_pton(AF_INET, argv[2], &target.sin_addr) != 1) {
		fprintf(stderr, "usage: flood SOURCES TARGET PORT RATE SECONDS\n");
		return 2;
	}
	sources = strtoul(argv[1], NULL, 10);
	target.sin_port = htons(strtoul(argv[3], NULL, 10));
	rate = strtoul(argv[4], NULL, 10);
	seconds = strtoul(argv[5], NULL, 10);
	begun = now_ns();
	while ((now = now_ns()) - begun < seconds * NS) {
		greet(now);
		expire(now);
		due = (now - begun) * rate / NS;
		if (due - planned > rate / 20) { /* 50 ms behind: somebody else has the core */
			late += due - planned - rate / 20;
			planned = due - rate / 20;
		}
		while (planned < due) {
			start(NETWORK + planned % sources * SPREAD % (1U << 24), &target, now);
			planned++;
		}
		nanosleep(&nap, NULL);
	}
	while (tail != head)
		finish(pending[tail++ % PENDING_MAX].fd);
	printf("%lu %lu %lu\n", tried, opened, late);
	return 0;
}

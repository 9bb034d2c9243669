/* The load generator: a fixed number of units by a fixed number of threads, one report in JSON.
 *
 *   load SCENARIO --port N --count N [--threads N] [--octets N] [--commands N]
 *        [--password WORD] [--starttls] [--resume] [--rsa]
 *
 * Threads with blocking sockets: the dialogues read from top to bottom, and what this process
 * costs is not measured. `idle` prints a first line when all sessions are open, holds them until
 * standard input ends, and then counts the lost ones. */
#define _GNU_SOURCE
#include "dialogue.h"
#include "pattern.h"

#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { THREADS_MAX = 256 };

typedef enum outcome unit_fn(struct worker *worker, unsigned number);

static const struct scenario {
    const char *name;
    unit_fn *unit;
} scenarios[] = {
    {"imap-login", imap_login},   {"imap-noop", imap_noop},
    {"fetch", imap_fetch},        {"append", imap_append},
    {"submission", smtp_submission}, {"data", smtp_submission},
    {"idle", imap_idle_enter},
};

struct thread {
    struct worker worker;
    pthread_t id;
    unsigned counts[FAILED + 1];
    unsigned last; /* the unit under way */
};

static struct job job = {.password = "right"};
static const struct scenario *scenario;
static unsigned count = 1, threads = 1;
static bool rsa;
static atomic_uint next_unit;
static double *latency_ms; /* by unit */
static struct link *idlers; /* by unit */

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void die(const char *what)
{
    fprintf(stderr, "load: %s\n", what);
    exit(2);
}

static void *need(void *memory)
{
    if (memory == NULL)
        die("out of memory");
    return memory;
}

/* Called for each ticket; keeps the newest in the worker that owns the connection. */
static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    struct worker *worker = SSL_get_app_data(ssl);
    if (worker == NULL)
        return 0;
    SSL_SESSION_free(worker->session);
    worker->session = session;
    return 1;
}

static SSL_CTX *make_context(void)
{
    SSL_CTX *context = need(SSL_CTX_new(TLS_client_method()));
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
    if (job.resume) {
        SSL_CTX_set_session_cache_mode(context,
                                       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(context, keep_session);
    }
    if (rsa && SSL_CTX_set1_sigalgs_list(context, "RSA-PSS+SHA256:RSA+SHA256") != 1)
        die("no RSA signatures");
    return context;
}

static bool holds(void)
{
    return scenario->unit == imap_idle_enter;
}

static void *run_thread(void *argument)
{
    struct thread *thread = argument;
    struct worker *worker = &thread->worker;
    struct link own;
    while ((thread->last = atomic_fetch_add(&next_unit, 1)) < count) {
        double begin = now_s();
        worker->link = holds() ? &idlers[thread->last] : &own;
        enum outcome outcome = scenario->unit(worker, thread->last);
        thread->counts[outcome]++;
        latency_ms[thread->last] = (now_s() - begin) * 1e3;
    }
    return NULL;
}

static int ascending(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double percentile(unsigned percent)
{
    return latency_ms[(size_t)(count - 1) * percent / 100];
}

static struct thread *run_all(void)
{
    struct thread *all = need(calloc(threads, sizeof *all));
    for (unsigned i = 0; i < threads; i++) {
        all[i].worker.job = &job;
        all[i].worker.context = make_context();
        all[i].worker.block = need(malloc(BLOCK_OCTETS));
        if (pthread_create(&all[i].id, NULL, run_thread, &all[i]) != 0)
            die("no thread");
    }
    for (unsigned i = 0; i < threads; i++)
        pthread_join(all[i].id, NULL);
    return all;
}

static void report(struct thread *all, double wall_s)
{
    struct thread sum = {.worker.failure = ""};
    for (unsigned i = 0; i < threads; i++) {
        for (int outcome = DONE; outcome <= FAILED; outcome++)
            sum.counts[outcome] += all[i].counts[outcome];
        sum.worker.resumed += all[i].worker.resumed;
        sum.worker.octets += all[i].worker.octets;
        if (all[i].worker.failure != NULL)
            sum.worker.failure = all[i].worker.failure;
    }
    qsort(latency_ms, count, sizeof *latency_ms, ascending);
    printf("{\"done\": %u, \"refused\": %u, \"failed\": %u, \"failure\": \"%s\", "
           "\"resumed\": %u, \"octets\": %llu, \"key\": \"%s\", \"tls\": \"%s\", "
           "\"wall_s\": %.6f, \"p50_ms\": %.3f, \"p90_ms\": %.3f, \"p99_ms\": %.3f}\n",
           sum.counts[DONE], sum.counts[REFUSED], sum.counts[FAILED], sum.worker.failure,
           sum.worker.resumed, (unsigned long long)sum.worker.octets, all[0].worker.key,
           all[0].worker.tls, wall_s, percentile(50), percentile(90), percentile(99));
    fflush(stdout);
}

/* Wait for the end of standard input, then end every session that is still there. */
static void release(struct worker *worker, unsigned open)
{
    char ignored[64];
    unsigned kept = 0;
    while (read(STDIN_FILENO, ignored, sizeof ignored) > 0)
        ;
    for (unsigned i = 0; i < count; i++) {
        worker->link = &idlers[i];
        kept += idlers[i].ssl != NULL && imap_idle_leave(worker) == DONE;
    }
    printf("{\"open\": %u, \"kept\": %u, \"lost\": %u}\n", open, kept, count - kept);
}

static void parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'},     {"count", required_argument, NULL, 'n'},
        {"threads", required_argument, NULL, 't'},  {"octets", required_argument, NULL, 'o'},
        {"password", required_argument, NULL, 'w'}, {"commands", required_argument, NULL, 'c'},
        {"starttls", no_argument, NULL, 's'},       {"resume", no_argument, NULL, 'r'},
        {"rsa", no_argument, NULL, 'k'},            {0},
    };
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'p': job.port = atoi(optarg); break;
        case 'n': count = (unsigned)atoi(optarg); break;
        case 't': threads = (unsigned)atoi(optarg); break;
        case 'o': job.octets = strtoull(optarg, NULL, 10); break;
        case 'w': job.password = optarg; break;
        case 'c': job.commands = (unsigned)atoi(optarg); break;
        case 's': job.starttls = true; break;
        case 'r': job.resume = true; break;
        case 'k': rsa = true; break;
        default: die("usage: load SCENARIO --port N --count N ...");
        }
    }
    for (size_t i = 0; optind < argc && i < sizeof scenarios / sizeof *scenarios; i++)
        if (strcmp(argv[optind], scenarios[i].name) == 0)
            scenario = &scenarios[i];
    if (scenario == NULL || job.port <= 0 || count == 0 || threads == 0 || threads > THREADS_MAX)
        die("a known scenario, --port, and counts in their limits are needed");
}

int main(int argc, char **argv)
{
    struct rlimit files;
    parse(argc, argv);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    pattern_fill();
    /* A message ends with a whole line; everything else takes any size. */
    if (scenario->unit == smtp_submission)
        job.octets = (job.octets + LINE_OCTETS - 1) / LINE_OCTETS * LINE_OCTETS;
    latency_ms = need(calloc(count, sizeof *latency_ms));
    idlers = need(calloc(holds() ? count : 1, sizeof *idlers));
    double begin = now_s();
    struct thread *all = run_all();
    report(all, now_s() - begin);
    if (holds()) {
        unsigned open = 0;
        for (unsigned i = 0; i < threads; i++)
            open += all[i].counts[DONE];
        release(&all[0].worker, open);
    }
    return 0;
}

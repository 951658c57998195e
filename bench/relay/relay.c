/* What does a line of this rate, delay, queue and loss do with packets?
 *
 *     relay NS_A NS_B SEED  RATE DELAY QUEUE LOSS  RATE DELAY QUEUE LOSS [LOG]
 *
 * Two TUN devices named `line`, one in each network namespace; the first four numbers are of the way from A to B, the
 * others of the way back: bit/s, us, bytes, parts in a million. On SIGTERM its counters are one line of JSON, and LOG
 * gets a line each 5 ms and way: direction, us on the monotonic clock, us that a packet would wait, bytes so far.
 *
 * Rule 1: rate counts IP bytes; a packet leaves RATE after the one before it, and arrives DELAY later, in order.
 * Rule 2: what does not fit in QUEUE is dropped at its tail; LOSS is drawn before the queue, from SEED alone.
 * Rule 3: a way has a thread of its own, and naps for QUANTUM where its queue is longer: nothing is missed then, and a
 * thread that is woken for each packet of 800 Mbit/s takes a whole processor.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 1 << 16, PACKET = 2048, BURST = 64, QUANTUM = 50000, LOOKS = 1 << 16, LOOK = 5000000 };

struct slot { int64_t due; int size; unsigned char bytes[PACKET]; };
struct look { int64_t at, wait; long bytes; };
struct way {
    int from, to;
    int64_t rate, delay, queue, loss; /* bit/s, ns, bytes, parts in a million */
    uint64_t random;
    int64_t free_at; /* when the last packet in the queue has left */
    struct slot *slots;
    unsigned head, tail;
    long in, out, lost, dropped, bytes_out;
    int64_t deepest, latest, cpu;
    struct look *looks;
    int looked;
    int64_t look_at;
};

static volatile sig_atomic_t over;
static void stop(int number) { (void)number; over = 1; }

static void die(const char *what) { perror(what); exit(1); }

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int tun_in(const char *ns) {
    char path[256];
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    snprintf(path, sizeof path, "/run/netns/%s", ns);
    int fd = open(path, O_RDONLY);
    if (fd < 0 || setns(fd, CLONE_NEWNET)) die(ns);
    close(fd);
    fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    strcpy(request.ifr_name, "line");
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request)) die("/dev/net/tun");
    return fd;
}

static int is_lost(struct way *w) { /* xorshift64* */
    w->random ^= w->random >> 12, w->random ^= w->random << 25, w->random ^= w->random >> 27;
    return (int64_t)((w->random * 0x2545F4914F6CDD1DULL >> 32) * 1000000 >> 32) < w->loss;
}

/* Packets that waited are taken. */
static void take(struct way *w, int64_t t) {
    for (int i = 0; i < BURST; i++) {
        struct slot *s = &w->slots[w->head % SLOTS];
        s->size = read(w->from, s->bytes, PACKET);
        if (s->size <= 0) return;
        int64_t start = w->free_at > t ? w->free_at : t;
        int64_t waiting = (start - t) * w->rate / 8000000000LL;
        w->in++;
        if (is_lost(w)) { w->lost++; continue; }
        if (waiting + s->size > w->queue || w->head - w->tail == SLOTS - 1) { w->dropped++; continue; }
        if (waiting + s->size > w->deepest) w->deepest = waiting + s->size;
        w->free_at = start + s->size * 8000000000LL / w->rate;
        s->due = w->free_at + w->delay;
        w->head++;
    }
}

/* Packets whose time has come are handed on; returns when the next one's will, or 0. */
static int64_t give(struct way *w, int64_t t) {
    for (; w->tail != w->head; w->tail++) {
        struct slot *s = &w->slots[w->tail % SLOTS];
        if (s->due > t) return s->due;
        if (write(w->to, s->bytes, s->size) < 0 && errno == EAGAIN) return t + 100000;
        if (t - s->due > w->latest) w->latest = t - s->due;
        w->out++, w->bytes_out += s->size;
    }
    return 0;
}

static void look(struct way *w, int64_t t) {
    if (!w->looks || t < w->look_at || w->looked == LOOKS) return;
    int64_t wait = w->free_at > t ? w->free_at - t : 0;
    w->looks[w->looked++] = (struct look){t, wait, w->bytes_out};
    w->look_at = t + LOOK;
}

static void *carry(void *arg) {
    struct way *w = arg;
    struct pollfd polled = {w->from, POLLIN, 0};
    struct sched_param first = {.sched_priority = 1};
    sched_setscheduler(0, SCHED_FIFO, &first); /* where it may: a line does not wait for a processor */
    prctl(PR_SET_TIMERSLACK, 1);
    while (!over) {
        int64_t t = now();
        take(w, t), look(w, t);
        int64_t due = give(w, t), wait = due ? due - now() : LOOK;
        int busy = w->free_at - t > QUANTUM;
        if (busy ? wait > QUANTUM : wait > LOOK) wait = busy ? QUANTUM : LOOK;
        if (due && wait < QUANTUM) wait = QUANTUM;
        struct timespec pause = {0, wait};
        if (busy) clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, 0);
        else ppoll(&polled, 1, &pause, 0);
    }
    struct timespec spent;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
    w->cpu = spent.tv_sec * 1000000LL + spent.tv_nsec / 1000;
    return 0;
}

static void tell(const char *name, struct way *w, const char *after) {
    printf("\"%s\": {\"in\": %ld, \"out\": %ld, \"lost\": %ld, \"dropped\": %ld, \"bytes_out\": %ld, "
           "\"deepest_bytes\": %ld, \"latest_us\": %ld, \"cpu_us\": %ld}%s",
           name, w->in, w->out, w->lost, w->dropped, w->bytes_out, (long)w->deepest, (long)w->latest / 1000,
           (long)w->cpu, after);
}

static void log_to(FILE *log, const char *name, struct way *w) {
    for (int i = 0; i < w->looked; i++)
        fprintf(log, "%s %ld %ld %ld\n", name, (long)(w->looks[i].at / 1000), (long)(w->looks[i].wait / 1000),
                w->looks[i].bytes);
}

int main(int argc, char **argv) {
    if (argc != 12 && argc != 13) {
        fprintf(stderr, "usage: relay NS_A NS_B SEED  RATE DELAY QUEUE LOSS  RATE DELAY QUEUE LOSS [LOG]\n");
        return 2;
    }
    FILE *log = argc == 13 ? fopen(argv[12], "w") : 0; /* before it enters a namespace, whose /sys is another */
    if (argc == 13 && !log) die(argv[12]);
    struct way ways[2] = {0};
    int fd[2] = {tun_in(argv[1]), tun_in(argv[2])};
    for (int i = 0; i < 2; i++) {
        struct way *w = &ways[i];
        char **a = argv + 4 + 4 * i;
        w->from = fd[i], w->to = fd[1 - i];
        w->rate = atoll(a[0]), w->delay = atoll(a[1]) * 1000, w->queue = atoll(a[2]), w->loss = atoll(a[3]);
        w->random = strtoull(argv[3], 0, 10) * 2 + 1 + (uint64_t)i * 0x9E3779B97F4A7C15ULL;
        if (!(w->slots = calloc(SLOTS, sizeof *w->slots))) die("calloc");
        if (log && !(w->looks = calloc(LOOKS, sizeof *w->looks))) die("calloc");
    }
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, 0), sigaction(SIGINT, &action, 0);
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], 0, carry, &ways[i])) die("pthread_create");
    printf("ready\n"), fflush(stdout);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], 0);
    printf("{"), tell("a_to_b", &ways[0], ", "), tell("b_to_a", &ways[1], "}\n");
    if (log) log_to(log, "down", &ways[0]), log_to(log, "up", &ways[1]), fclose(log);
    return 0;
}

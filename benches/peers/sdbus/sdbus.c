/* The floor: what libsystemd's own sd-bus needs, with nothing around it.
 *
 *   sdbus system|private|fresh|kept OPS CONCURRENCY SLICE PIDS-FILE   creates and stops, and prints one JSON object
 *   sdbus run SCOPE COMMAND...                                   enters a scope, and becomes the command
 *   sdbus noise RATE SLICE                                       starts and stops a slice, so many jobs a second
 *
 * One caller makes a blocking call and waits for the signal; more are so many calls under way on one connection, in one
 * thread. `fresh` opens a connection for each call, as crun does. `kept` keeps unitwait's promises in the cheapest way
 * there is: the connection has a thread of its own, which never waits for a caller, the process is looked up before it
 * is named to systemd, and afterwards the kernel is asked for its group, and systemd's link for the run's ID.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <systemd/sd-bus.h>
#include <time.h>
#include <unistd.h>

#define NAME "org.freedesktop.systemd1"
#define PATH "/org/freedesktop/systemd1"
#define MANAGER "org.freedesktop.systemd1.Manager"
#define PATIENCE (30 * UINT64_C(1000000))

struct op {
    const char *slice;
    char unit[64];
    uint32_t pid;
    char job[64];
    uint64_t begun, took;
    int over, failed;
};

static struct op *ops;
static size_t count, over, first_open, next_op;

static uint64_t now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void must(int status, const char *doing) {
    if (status >= 0)
        return;
    fprintf(stderr, "sdbus: could not %s: %s\n", doing, strerror(-status));
    exit(1);
}

static sd_bus_message *creation(sd_bus *bus, const struct op *op) {
    sd_bus_message *call = NULL;
    must(sd_bus_message_new_method_call(bus, &call, NAME, PATH, MANAGER, "StartTransientUnit"), "make a call");
    must(sd_bus_message_append(call, "ss", op->unit, "fail"), "name a unit");
    if (op->slice)
        must(sd_bus_message_append(call, "a(sv)", 3, "Slice", "s", op->slice, "DefaultDependencies", "b", 0, "PIDs", "au", 1,
                                   op->pid), "give properties");
    else
        must(sd_bus_message_append(call, "a(sv)", 1, "PIDs", "au", 1, op->pid), "give properties");
    must(sd_bus_message_append(call, "a(sa(sv))", 0), "end a call");
    return call;
}

static sd_bus_message *stop(sd_bus *bus, const struct op *op) {
    sd_bus_message *call = NULL;
    must(sd_bus_message_new_method_call(bus, &call, NAME, PATH, MANAGER, "StopUnit"), "make a call");
    must(sd_bus_message_append(call, "ss", op->unit, "replace"), "name a unit");
    return call;
}

typedef sd_bus_message *(*maker)(sd_bus *, const struct op *);

static void settle(struct op *op, int failed) {
    op->took = now(CLOCK_MONOTONIC) - op->begun;
    op->failed |= failed;
    op->over = 1;
    over++;
}

static int removed(sd_bus_message *signal, void *data, sd_bus_error *error) {
    uint32_t id;
    const char *job, *unit, *result;
    (void)data, (void)error;
    if (sd_bus_message_read(signal, "uoss", &id, &job, &unit, &result) < 0)
        return 0;
    while (first_open < next_op && ops[first_open].over)
        first_open++;
    for (size_t at = first_open; at < next_op; at++)
        if (!ops[at].over && strcmp(ops[at].job, job) == 0) {
            settle(&ops[at], strcmp(result, "done") != 0);
            break;
        }
    return 0;
}

static int accepted(sd_bus_message *reply, void *data, sd_bus_error *error) {
    struct op *op = data;
    const char *job;
    (void)error;
    if (sd_bus_message_is_method_error(reply, NULL) || sd_bus_message_read(reply, "o", &job) < 0)
        settle(op, 1);
    else
        snprintf(op->job, sizeof op->job, "%s", job);
    return 0;
}

static sd_bus *connect_to(const char *way) {
    sd_bus *bus = NULL;
    int direct = strstr(way, "private") != NULL;
    if (direct) {
        must(sd_bus_new(&bus), "make a connection");
        must(sd_bus_set_address(bus, "unix:path=/run/systemd/private"), "set an address");
        must(sd_bus_start(bus), "connect");
    } else
        must(sd_bus_open_system(&bus), "connect");
    const char *sender = direct ? NULL : NAME;
    must(sd_bus_match_signal(bus, NULL, sender, PATH, MANAGER, "JobRemoved", removed, NULL), "listen");
    return bus;
}

static void turn(sd_bus *bus) {
    int worked = sd_bus_process(bus, NULL);
    must(worked, "read");
    if (worked == 0)
        must(sd_bus_wait(bus, PATIENCE), "wait");
}

static void one(sd_bus *bus, struct op *op, maker make) {
    sd_bus_message *call = make(bus, op), *reply = NULL;
    sd_bus_error error = SD_BUS_ERROR_NULL;
    next_op++;
    if (sd_bus_call(bus, call, PATIENCE, &error, &reply) < 0) {
        fprintf(stderr, "sdbus: %s: %s\n", op->unit, error.message);
        settle(op, 1);
    } else {
        accepted(reply, op, NULL);
        while (!op->over)
            turn(bus);
    }
    sd_bus_error_free(&error);
    sd_bus_message_unref(reply);
    sd_bus_message_unref(call);
}

/* What the caller of `kept` and the thread of the connection have between them. */
static struct {
    sd_bus *bus;
    struct op *op;
    maker make;
    int bell;
    sem_t answered;
} kept;

static void look(int at, const char *file, char *text, size_t size) {
    int fd = openat(at, file, O_RDONLY | O_CLOEXEC);
    ssize_t length = read(fd, text, size - 1);
    close(fd);
    must(length < 0 ? -errno : 0, file);
    text[length] = 0;
}

static void verify(struct op *op, int process) {
    char link[128], run[64], groups[1024], path[160];
    struct stat group;
    snprintf(link, sizeof link, "/run/systemd/units/invocation:%s", op->unit);
    snprintf(path, sizeof path, "/sys/fs/cgroup/%s/%s", op->slice, op->unit);
    if (readlink(link, run, sizeof run) < 0 || stat(path, &group) < 0)
        op->failed = 1;
    ssize_t length = pread(process, groups, sizeof groups - 1, 0);
    groups[length < 0 ? 0 : length] = 0;
    if (!strstr(groups, op->unit))
        op->failed = 1;
}

static void *keep(void *nothing) {
    struct pollfd fds[] = {{kept.bell, POLLIN, 0}, {sd_bus_get_fd(kept.bus), POLLIN, 0}};
    for (;;) {
        uint64_t rings;
        poll(fds, 2, -1);
        /* What the manager's own socket tells unasked. */
        while (fds[1].revents && sd_bus_process(kept.bus, NULL) > 0)
            ;
        if (!(fds[0].revents & POLLIN) || read(kept.bell, &rings, sizeof rings) < 0)
            continue;
        one(kept.bus, kept.op, kept.make);
        sem_post(&kept.answered);
    }
    return nothing;
}

static void ask(struct op *op, maker make) {
    char file[64], stat[512];
    int process = -1;
    if (make == creation) {
        snprintf(file, sizeof file, "/proc/%u/cgroup", op->pid);
        process = open(file, O_RDONLY | O_CLOEXEC);
        snprintf(file, sizeof file, "/proc/%u/stat", op->pid);
        look(AT_FDCWD, file, stat, sizeof stat);
    }
    kept.op = op, kept.make = make;
    eventfd_write(kept.bell, 1);
    sem_wait(&kept.answered);
    if (process >= 0) {
        verify(op, process);
        close(process);
        op->took = now(CLOCK_MONOTONIC) - op->begun;
    }
}

static void begin_keeping(sd_bus *bus) {
    pthread_t thread;
    kept.bus = bus;
    must(kept.bell = eventfd(0, EFD_CLOEXEC), "make an eventfd");
    sem_init(&kept.answered, 0, 0);
    must(-pthread_create(&thread, NULL, keep, NULL), "start a thread");
}

static void pipelined(sd_bus *bus, size_t window, maker make) {
    while (over < count) {
        while (next_op < count && next_op - over < window) {
            struct op *op = &ops[next_op++];
            op->begun = now(CLOCK_MONOTONIC);
            sd_bus_message *call = make(bus, op);
            must(sd_bus_call_async(bus, NULL, call, accepted, op, PATIENCE), "call");
            sd_bus_message_unref(call);
        }
        turn(bus);
    }
}

/* Does all of one kind, and prints it. */
static void phase(const char *name, const char *way, sd_bus *bus, size_t window, maker make) {
    size_t errors = 0;
    over = first_open = next_op = 0;
    for (size_t at = 0; at < count; at++)
        ops[at].over = ops[at].failed = 0, ops[at].job[0] = 0;
    uint64_t wall = now(CLOCK_MONOTONIC), processor = now(CLOCK_PROCESS_CPUTIME_ID);
    if (window > 1)
        pipelined(bus, window, make);
    else
        for (size_t at = 0; at < count; at++) {
            ops[at].begun = now(CLOCK_MONOTONIC);
            if (kept.bus) {
                ask(&ops[at], make);
                continue;
            }
            sd_bus *own = strcmp(way, "fresh") == 0 ? connect_to(way) : bus;
            one(own, &ops[at], make);
            if (own != bus)
                sd_bus_flush_close_unref(own);
        }
    processor = now(CLOCK_PROCESS_CPUTIME_ID) - processor, wall = now(CLOCK_MONOTONIC) - wall;
    printf("\"%s\":{\"wall_ns\":%lu,\"cpu_ns\":%lu,\"times_ns\":[", name, wall, processor);
    for (size_t at = 0; at < count; at++) {
        printf("%s%lu", at ? "," : "", ops[at].took);
        errors += (size_t)ops[at].failed;
    }
    printf("],\"errors\":%zu}", errors);
}

static int load(char **argv) {
    size_t window = strtoul(argv[3], NULL, 10);
    count = strtoul(argv[2], NULL, 10);
    ops = calloc(count, sizeof *ops);
    FILE *pids = fopen(argv[5], "r");
    for (size_t at = 0; at < count; at++) {
        struct op *op = &ops[at];
        if (!pids || fscanf(pids, "%u", &op->pid) != 1)
            must(-EINVAL, "read the processes");
        op->slice = argv[4];
        snprintf(op->unit, sizeof op->unit, "bench-sdbus%d-%zu.scope", getpid(), at);
    }
    fclose(pids);
    sd_bus *bus = connect_to(argv[1]);
    if (strncmp(argv[1], "kept", 4) == 0 && window == 1)
        begin_keeping(bus);
    printf("{");
    phase("create", argv[1], bus, window, creation);
    printf(",");
    phase("stop", argv[1], bus, window, stop);
    printf("}\n");
    return 0;
}

static int run(char **argv) {
    static struct op self;
    sd_bus *bus = connect_to("system");
    ops = &self, count = 1;
    self.pid = (uint32_t)getpid();
    snprintf(self.unit, sizeof self.unit, "%s", argv[2]);
    one(bus, &self, creation);
    sd_bus_flush_close_unref(bus);
    if (self.failed)
        return 1;
    execvp(argv[3], argv + 3);
    return 127;
}

static _Noreturn void noise(char **argv) {
    sd_bus *bus = connect_to("system");
    uint64_t pause = 1000000000 / strtoul(argv[2], NULL, 10), next = now(CLOCK_MONOTONIC);
    for (int starts = 1;; starts = !starts, next += pause) {
        must(sd_bus_call_method(bus, NAME, PATH, MANAGER, starts ? "StartUnit" : "StopUnit", NULL, NULL, "ss", argv[3],
                                "replace"), "make noise");
        while (sd_bus_process(bus, NULL) > 0)
            ;
        struct timespec until = {(time_t)(next / 1000000000), (long)(next % 1000000000)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    }
}

int main(int argc, char **argv) {
    if (argc > 3 && strcmp(argv[1], "run") == 0)
        return run(argv);
    if (argc == 4 && strcmp(argv[1], "noise") == 0)
        noise(argv);
    if (argc == 6)
        return load(argv);
    fprintf(stderr, "usage: sdbus system|private|fresh|kept|kept-private OPS CONCURRENCY SLICE PIDS-FILE\n");
    return 64;
}

/* What the tests share: to say what does not hold, and processes to place. Valid C99 and C++17. */
#ifndef CHECK_H
#define CHECK_H

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <unitwait.h>

/* A timeout that is never to be reached, and what a busy machine may add to one. */
#define LONG_MS 60000
#define MARGIN_MS 5000

#define CHECK(holds)                                                                  \
    do {                                                                              \
        if (!(holds)) {                                                               \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #holds); \
            exit(1);                                                                  \
        }                                                                             \
    } while (0)

/* A call that goes well. Its last argument is `error`, which this gives it. */
#define GOES_WELL(call)                                                                   \
    do {                                                                                  \
        unitwait_error *error = NULL;                                                     \
        unitwait_code code_ = (call);                                                     \
        if (code_ != UNITWAIT_OK || error != NULL) {                                      \
            fprintf(stderr, "%s:%d: %s: %d: %s\n", __FILE__, __LINE__, #call, (int)code_, \
                    unitwait_error_message(error));                                       \
            exit(1);                                                                      \
        }                                                                                 \
    } while (0)

/* A call that fails with this code, and says so in words. */
#define FAILS(expected, call)                                                              \
    do {                                                                                   \
        unitwait_error *error = NULL;                                                      \
        unitwait_code code_ = (call);                                                      \
        if (code_ != (expected)) {                                                         \
            fprintf(stderr, "%s:%d: %s: is %d and not %d: %s\n", __FILE__, __LINE__, #call, \
                    (int)code_, (int)(expected), error ? unitwait_error_message(error) : ""); \
            exit(1);                                                                       \
        }                                                                                  \
        CHECK(error != NULL && unitwait_error_code(error) == (expected));                  \
        CHECK(unitwait_error_message(error) && *unitwait_error_message(error));            \
        CHECK(unitwait_free(error) == UNITWAIT_OK);                                        \
    } while (0)

/* Gives handles back, of which each must be one. */
static inline void done(void *handle) { CHECK(handle != NULL && unitwait_free(handle) == UNITWAIT_OK); }

static inline void all_is_given_back(void) { CHECK(unitwait_open_handles() == 0); }

static inline unitwait_manager *manager_at(int bus) {
    unitwait_manager *manager = NULL;
    GOES_WELL(unitwait_open(UNITWAIT_ABI, bus, LONG_MS, &manager, &error));
    return manager;
}

static inline unitwait_manager *system_manager(void) { return manager_at(UNITWAIT_SYSTEM_BUS); }

/* A process that does nothing, and ends with its parent's own end at the latest. */
static inline pid_t sleeper(void) {
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        signal(SIGTERM, SIG_DFL);
        alarm(600);
        for (;;) pause();
    }
    return pid;
}

static inline void reap(pid_t pid) {
    kill(pid, SIGKILL);
    CHECK(waitpid(pid, NULL, 0) == pid);
}

static inline int lives(pid_t pid) { return waitpid(pid, NULL, WNOHANG) == 0; }

/* Ends the child of a fork well. By another program, for valgrind would count what was the parent's threads' as lost. */
static inline void leave(void) {
    execlp("true", "true", (char *)NULL);
    _exit(127);
}

/* A scope's name that no other test has. */
static inline const char *scope_name(char *buffer, size_t size, const char *stem) {
    static int next;
    int number = __atomic_add_fetch(&next, 1, __ATOMIC_RELAXED);
    snprintf(buffer, size, "ffi-%s-%d-%d.scope", stem, (int)getpid(), number);
    return buffer;
}

/* A scope for this process, which is created. */
static inline unitwait_active *created(unitwait_manager *manager, const char *name, pid_t pid) {
    unitwait_request *scope = unitwait_scope_new(name);
    unitwait_active *active = NULL;
    CHECK(unitwait_request_pid(scope, pid) == UNITWAIT_OK);
    GOES_WELL(unitwait_create(manager, scope, LONG_MS, &active, &error));
    done(scope);
    return active;
}

static inline long long now_ms(void) {
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Stops and continues the sandbox's PID 1: `stop`, `cont`. */
static inline void control(const char *verb) {
    const char *ctl = getenv("UNITWAIT_SANDBOX_CTL");
    pid_t pid;
    int status = 0;
    CHECK(ctl != NULL);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        execl(ctl, ctl, verb, (char *)NULL);
        _exit(127);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

/* Whether the kernel has the process in a group that ends so. */
static inline int is_in(pid_t pid, const char *group) {
    char path[64], line[4096];
    int found = 0;
    FILE *file;
    snprintf(path, sizeof path, "/proc/%d/cgroup", (int)pid);
    file = fopen(path, "r");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        if (strlen(line) >= strlen(group) && strcmp(line + strlen(line) - strlen(group), group) == 0) found = 1;
    }
    fclose(file);
    return found;
}

/* The number of a row's field. */
static inline uint64_t number_of(const unitwait_list *list, size_t row, int field) {
    uint64_t number = 0;
    CHECK(unitwait_list_number(list, row, field, &number));
    return number;
}

static inline int same(const char *one, const char *other) { return one && other && strcmp(one, other) == 0; }

#endif

/* The faults of the post-mortem, met from C. */
#include "check.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>

static unitwait_manager *manager;

/* A unit that is there has no job for the caller: the answer is an error, at once. */
static void a_unit_that_exists_is_told_at_once(void) {
    char name[64];
    pid_t pid = sleeper(), other = sleeper();
    unitwait_active *active = created(manager, scope_name(name, sizeof name, "exists"), pid), *second;
    unitwait_request *again = unitwait_scope_new(name), *slice = unitwait_slice_new("ffi-exists.slice");
    long long begun = now_ms();
    int round;
    GOES_WELL(unitwait_create(manager, slice, LONG_MS, NULL, &error));
    unitwait_request_pid(again, other);
    for (round = 0; round < 50; round++) {
        FAILS(UNITWAIT_UNIT_EXISTS, unitwait_create(manager, again, LONG_MS, &second, &error));
        CHECK(second == NULL);
        FAILS(UNITWAIT_UNIT_EXISTS, unitwait_create(manager, slice, LONG_MS, NULL, &error));
    }
    CHECK(now_ms() - begun < LONG_MS / 2);
    GOES_WELL(unitwait_active_stop(active, LONG_MS, NULL, &error));
    done(active), done(again), done(slice), reap(pid), reap(other);
}

/* With PID 1 stopped every call ends by its own deadline, and says how far it came. */
static void every_call_ends_by_its_deadline_while_systemd_is_stopped(void) {
    char name[64];
    pid_t pid = sleeper();
    unitwait_request *scope = unitwait_scope_new(scope_name(name, sizeof name, "late"));
    unitwait_active *active = NULL;
    unitwait_value *value = NULL;
    unitwait_list *units = NULL;
    unitwait_error *failed = NULL;
    long long begun = now_ms();
    unitwait_code retried;
    unitwait_request_pid(scope, pid);
    control("stop");
    CHECK(unitwait_create(manager, scope, 300, &active, &failed) == UNITWAIT_TIMEOUT);
    CHECK(active == NULL && unitwait_error_stage(failed) == UNITWAIT_STAGE_CALL && unitwait_error_job(failed) == 0);
    CHECK(unitwait_error_errno(failed) == 0 && unitwait_error_dbus_name(failed) == NULL);
    done(failed);
    FAILS(UNITWAIT_TIMEOUT, unitwait_property(manager, name, "ActiveState", 50, &value, &error));
    FAILS(UNITWAIT_TIMEOUT, unitwait_stop_unit(manager, name, 1, NULL, &error));
    FAILS(UNITWAIT_TIMEOUT, unitwait_list_units(manager, NULL, 0, NULL, 0, 0, &units, &error));
    CHECK(now_ms() - begun < 351 + MARGIN_MS);
    control("cont");
    /* It came up late and stands, or it was cancelled and its name is free: a retry is safe, and nobody was killed. */
    retried = unitwait_create(manager, scope, LONG_MS, NULL, NULL);
    CHECK(retried == UNITWAIT_OK || retried == UNITWAIT_UNIT_EXISTS);
    CHECK(lives(pid) && is_in(pid, name));
    GOES_WELL(unitwait_stop_unit(manager, name, LONG_MS, NULL, &error));
    done(scope);
    reap(pid);
}

/* A caller that goes away takes nothing with it and leaves nothing: the next is served. */
static void a_ticket_that_is_abandoned_holds_nobody_up(void) {
    enum { COUNT = 500 };
    unitwait_stats stats;
    long long until = now_ms() + LONG_MS;
    int at;
    for (at = 0; at < COUNT; at++) {
        char name[64];
        unitwait_ticket *ticket = NULL;
        unitwait_request *job = unitwait_job_new(
            UNITWAIT_STOP, scope_name(name, sizeof name, "abandoned"), UNITWAIT_MODE_REPLACE);
        GOES_WELL(unitwait_submit(manager, job, LONG_MS, &ticket, &error));
        done(ticket), done(job);
    }
    do {
        CHECK(now_ms() < until);
        GOES_WELL(unitwait_manager_stats(manager, &stats, &error));
    } while (stats.requests > 0 || stats.queued > 0);
    CHECK(stats.failed >= COUNT);
}

static void a_ticket_rings_its_descriptor_and_answers_once(void) {
    char name[64];
    pid_t pid = sleeper();
    unitwait_request *scope = unitwait_scope_new(scope_name(name, sizeof name, "ticket"));
    unitwait_request *stop = unitwait_job_new(UNITWAIT_STOP, name, UNITWAIT_MODE_REPLACE);
    unitwait_request *update = unitwait_update_new();
    unitwait_ticket *ticket = NULL;
    unitwait_active *active = NULL;
    unitwait_finished job;
    struct pollfd bell;

    unitwait_request_pid(scope, pid);
    GOES_WELL(unitwait_submit(manager, scope, LONG_MS, &ticket, &error));
    bell.fd = unitwait_ticket_descriptor(ticket), bell.events = POLLIN;
    CHECK((fcntl(bell.fd, F_GETFD) & FD_CLOEXEC) && poll(&bell, 1, LONG_MS) == 1);
    GOES_WELL(unitwait_ticket_try_wait(ticket, &active, &job, &error));
    CHECK(same(unitwait_active_unit(active), name) && job.job == 0 && is_in(pid, name));
    FAILS(UNITWAIT_CLOSED, unitwait_ticket_try_wait(ticket, NULL, NULL, &error));
    FAILS(UNITWAIT_CLOSED, unitwait_ticket_wait(ticket, -1, NULL, NULL, &error));
    CHECK(unitwait_ticket_stage(ticket) == UNITWAIT_STAGE_NONE);
    done(ticket), done(active);

    control("stop");
    GOES_WELL(unitwait_submit(manager, stop, LONG_MS, &ticket, &error));
    bell.fd = unitwait_ticket_descriptor(ticket);
    CHECK(poll(&bell, 1, 100) == 0 && unitwait_ticket_stage(ticket) != UNITWAIT_STAGE_NONE);
    CHECK(unitwait_ticket_try_wait(ticket, NULL, NULL, NULL) == UNITWAIT_PENDING);
    control("cont");
    GOES_WELL(unitwait_ticket_wait(ticket, -1, &active, &job, &error));
    CHECK(active == NULL && job.job > 0 && !lives(pid));
    done(ticket);

    FAILS(UNITWAIT_INVALID_INPUT, unitwait_submit(manager, update, LONG_MS, &ticket, &error));
    FAILS(UNITWAIT_TIMEOUT, unitwait_submit(manager, stop, 0, &ticket, &error));
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_submit(manager, stop, LONG_MS, NULL, &error));
    CHECK(ticket == NULL);
    done(scope), done(stop), done(update);
}

/* A wait that is shorter than the request's own deadline gives the request up. */
static void a_ticket_that_is_waited_for_too_shortly_is_given_up(void) {
    unitwait_request *stop = unitwait_job_new(UNITWAIT_STOP, "ffi-late.scope", UNITWAIT_MODE_REPLACE);
    unitwait_ticket *ticket = NULL;
    int descriptor;
    long long begun;
    control("stop");
    GOES_WELL(unitwait_submit(manager, stop, LONG_MS, &ticket, &error));
    begun = now_ms();
    FAILS(UNITWAIT_TIMEOUT, unitwait_ticket_wait(ticket, 20, NULL, NULL, &error));
    CHECK(now_ms() - begun < 20 + MARGIN_MS);
    done(ticket);
    /* The descriptor ends with the ticket, though its request is under way. */
    GOES_WELL(unitwait_submit(manager, stop, LONG_MS, &ticket, &error));
    descriptor = unitwait_ticket_descriptor(ticket);
    CHECK(fcntl(descriptor, F_GETFD) >= 0);
    done(ticket);
    CHECK(fcntl(descriptor, F_GETFD) == -1);
    control("cont");
    done(stop);
}

/* The child of a fork is refused at once, may free what it has, and opens its own; the parent is undisturbed. */
static void a_child_of_a_fork_is_refused_and_opens_its_own(void) {
    char name[64];
    pid_t pid = sleeper(), child;
    unitwait_active *active = created(manager, scope_name(name, sizeof name, "fork"), pid);
    unitwait_request *job = unitwait_job_new(UNITWAIT_START, "ffi.slice", UNITWAIT_MODE_REPLACE);
    unitwait_ticket *ticket = NULL;
    int status = 0;
    GOES_WELL(unitwait_submit(manager, job, LONG_MS, &ticket, &error));
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        unitwait_manager *own = NULL;
        unitwait_value *state = NULL;
        FAILS(UNITWAIT_FORKED, unitwait_active_property(active, "ActiveState", LONG_MS, &state, &error));
        FAILS(UNITWAIT_FORKED, unitwait_active_stop(active, LONG_MS, NULL, &error));
        FAILS(UNITWAIT_FORKED, unitwait_ticket_try_wait(ticket, NULL, NULL, &error));
        FAILS(UNITWAIT_FORKED, unitwait_ticket_wait(ticket, -1, NULL, NULL, &error));
        own = system_manager();
        GOES_WELL(unitwait_property(own, name, "ActiveState", LONG_MS, &state, &error));
        CHECK(same(unitwait_value_as_string(state), "active"));
        done(state), done(own), done(active), done(ticket), done(job), done(manager);
        all_is_given_back();
        leave();
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    GOES_WELL(unitwait_ticket_wait(ticket, -1, NULL, NULL, &error));
    GOES_WELL(unitwait_active_stop(active, LONG_MS, NULL, &error));
    CHECK(!lives(pid));
    done(active), done(ticket), done(job);
}

static unitwait_request *shared;
static unitwait_value *read_by_all;

static void use_what_is_shared(void) {
    unitwait_value *value = unitwait_value_u64(20);
    CHECK(unitwait_request_property(shared, "TasksMax", value, false) == UNITWAIT_OK);
    CHECK(same(unitwait_value_text(read_by_all), "20") && same(unitwait_value_type(read_by_all), "t"));
    done(value);
}

static void *churn(void *until_raised) {
    volatile int *raised = (volatile int *)until_raised;
    while (!__atomic_load_n(raised, __ATOMIC_RELAXED)) use_what_is_shared();
    return NULL;
}

/* What a thread holds at the moment of a fork, a child would find held for ever. */
static void a_child_of_a_fork_finds_no_lock_held(void) {
    pthread_t threads[4];
    int raised = 0, at, status = 0;
    shared = unitwait_update_new(), read_by_all = unitwait_value_u64(20);
    for (at = 0; at < 4; at++) CHECK(pthread_create(&threads[at], NULL, churn, &raised) == 0);
    for (at = 0; at < 200; at++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            alarm(30);
            use_what_is_shared();
            leave();
        }
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    __atomic_store_n(&raised, 1, __ATOMIC_RELAXED);
    for (at = 0; at < 4; at++) CHECK(pthread_join(threads[at], NULL) == 0);
    done(shared), done(read_by_all);
}

enum { THREADS = 64, ROUNDS = 3 };

static void *create_and_stop(void *pids) {
    char name[64];
    int round;
    for (round = 0; round < ROUNDS; round++) {
        pid_t pid = ((pid_t *)pids)[round];
        unitwait_active *active = created(manager, scope_name(name, sizeof name, "thread"), pid);
        unitwait_list *findings = NULL;
        CHECK(is_in(pid, name));
        GOES_WELL(unitwait_active_audit(active, LONG_MS, &findings, &error));
        GOES_WELL(unitwait_active_stop(active, LONG_MS, NULL, &error));
        done(findings), done(active);
    }
    return NULL;
}

/* Many threads with small stacks, all signals blocked, over one manager. */
static void sixty_four_threads_with_small_stacks_share_a_manager(size_t stack) {
    static pid_t pids[THREADS][ROUNDS];
    pthread_t threads[THREADS];
    pthread_attr_t small;
    sigset_t all, before;
    int at, round;
    for (at = 0; at < THREADS; at++)
        for (round = 0; round < ROUNDS; round++) pids[at][round] = sleeper();
    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    CHECK(pthread_attr_init(&small) == 0 && pthread_attr_setstacksize(&small, stack) == 0);
    for (at = 0; at < THREADS; at++)
        CHECK(pthread_create(&threads[at], &small, create_and_stop, pids[at]) == 0);
    for (at = 0; at < THREADS; at++) CHECK(pthread_join(threads[at], NULL) == 0);
    CHECK(pthread_attr_destroy(&small) == 0 && pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    for (at = 0; at < THREADS; at++)
        for (round = 0; round < ROUNDS; round++) reap(pids[at][round]);
}

static void *wait_for_the_end(void *active) {
    unitwait_ended *end = (unitwait_ended *)calloc(1, sizeof *end);
    GOES_WELL(unitwait_active_wait((unitwait_active *)active, LONG_MS, end, &error));
    return end;
}

/* A handle that is freed while another thread's call uses it stays for that call. */
static void a_handle_may_be_freed_under_a_call(void) {
    char name[64];
    pid_t pid = sleeper();
    unitwait_active *active = created(manager, scope_name(name, sizeof name, "freed"), pid);
    unitwait_stats stats;
    pthread_t thread;
    void *end = NULL;
    CHECK(pthread_create(&thread, NULL, wait_for_the_end, active) == 0);
    do GOES_WELL(unitwait_manager_stats(manager, &stats, &error));
    while (stats.requests == 0 && sched_yield() == 0);
    done(active);
    GOES_WELL(unitwait_stop_unit(manager, name, LONG_MS, NULL, &error));
    CHECK(pthread_join(thread, &end) == 0 && ((unitwait_ended *)end)->ending == UNITWAIT_ENDED_STOPPED);
    free(end), reap(pid);
}

int main(void) {
    const char *stack = getenv("FFI_STACK");
    manager = system_manager();
    a_unit_that_exists_is_told_at_once();
    every_call_ends_by_its_deadline_while_systemd_is_stopped();
    a_ticket_that_is_abandoned_holds_nobody_up();
    a_ticket_rings_its_descriptor_and_answers_once();
    a_ticket_that_is_waited_for_too_shortly_is_given_up();
    a_child_of_a_fork_is_refused_and_opens_its_own();
    a_child_of_a_fork_finds_no_lock_held();
    sixty_four_threads_with_small_stacks_share_a_manager(stack ? strtoul(stack, NULL, 10) : 64 << 10);
    a_handle_may_be_freed_under_a_call();
    done(manager);
    all_is_given_back();
    return 0;
}

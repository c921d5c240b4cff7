/* Commands that are spawned in their scopes, units that are watched, lines that are logged. */
#include "check.h"

#include <errno.h>
#include <poll.h>
#include <sys/syscall.h>

static unitwait_manager *manager;
static int lines;

static void count_lines(void *data, int level, const char *message) {
    CHECK(data == &lines && level >= UNITWAIT_LOG_ERROR && level <= UNITWAIT_LOG_DEBUG && message[0]);
    __atomic_add_fetch(&lines, 1, __ATOMIC_RELAXED);
}

static unitwait_request *scope_for(char *name, const char *stem) {
    unitwait_request *scope = unitwait_scope_new(scope_name(name, 64, stem));
    CHECK(scope != NULL);
    return scope;
}

/* Its first instruction runs inside: what it prints of itself says so. */
static void a_command_runs_in_its_scope_from_its_first_instruction(void) {
    char name[64], said[4096];
    int ends[2], status = -1;
    ssize_t length;
    unitwait_command *command = unitwait_command_new("sh");
    unitwait_request *scope = scope_for(name, "spawn");
    unitwait_child *child = NULL;
    unitwait_active *active;
    unitwait_ended end;

    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    CHECK(unitwait_command_argument(command, "-c") == UNITWAIT_OK);
    CHECK(unitwait_command_argument(
              command, "cat /proc/self/cgroup; echo $WORD$HOME-$OTHER; pwd; id -u; cat; exit 7") == UNITWAIT_OK);
    CHECK(unitwait_command_environment(command, "OTHER", "lost") == UNITWAIT_OK);
    CHECK(unitwait_command_clear_environment(command) == UNITWAIT_OK);
    CHECK(unitwait_command_environment(command, "WORD", "heard") == UNITWAIT_OK);
    CHECK(unitwait_command_environment(command, "HOME", NULL) == UNITWAIT_OK);
    CHECK(unitwait_command_directory(command, "/proc") == UNITWAIT_OK);
    CHECK(unitwait_command_user(command, 65534, 65534) == UNITWAIT_OK);
    CHECK(unitwait_command_process_group(command, 0) == UNITWAIT_OK);
    CHECK(unitwait_command_descriptor(command, 0, -1) == UNITWAIT_OK);
    CHECK(unitwait_command_descriptor(command, 1, ends[1]) == UNITWAIT_OK);
    GOES_WELL(unitwait_spawn(manager, command, scope, LONG_MS, &child, &error));
    CHECK(unitwait_child_pid(child) > 0);
    active = unitwait_child_scope(child);
    CHECK(same(unitwait_active_unit(active), name));
    GOES_WELL(unitwait_child_wait(child, LONG_MS, &status, &error));
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    GOES_WELL(unitwait_child_try_wait(child, &status, &error));
    GOES_WELL(unitwait_child_wait_all(child, LONG_MS, &end, &error));
    CHECK(end.ending == UNITWAIT_ENDED_EXITED && WEXITSTATUS(end.status) == 7);
    length = read(ends[0], said, sizeof said - 1);
    CHECK(length > 0);
    said[length] = '\0';
    CHECK(strstr(said, name) && strstr(said, "\nheard-\n/proc\n65534\n"));
    close(ends[0]), close(ends[1]);
    done(active), done(child), done(command), done(scope);
}

static int pidfd_of_this_process(void) {
    int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (fd >= 0) close(fd);
    return fd;
}

static void a_child_is_signalled_and_its_descriptor_tells_its_end(void) {
    char name[64];
    unitwait_command *command = unitwait_command_new("sleep");
    unitwait_request *scope = scope_for(name, "child");
    unitwait_child *child = NULL;
    unitwait_ended end;
    struct pollfd ended;
    int status = -1;
    unitwait_command_argument(command, "600");
    GOES_WELL(unitwait_spawn(manager, command, scope, LONG_MS, &child, &error));
    CHECK(unitwait_child_try_wait(child, &status, NULL) == UNITWAIT_PENDING);
    FAILS(UNITWAIT_TIMEOUT, unitwait_child_wait(child, 10, &status, &error));
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_child_kill(child, 0, &error));
    GOES_WELL(unitwait_child_kill(child, SIGTERM, &error));
    ended.fd = unitwait_child_descriptor(child), ended.events = POLLIN;
    /* Valgrind knows no pidfd_open(2); a kernel that has it gives one. */
    CHECK((ended.fd >= 0) == (pidfd_of_this_process() >= 0));
    CHECK(ended.fd < 0 || poll(&ended, 1, LONG_MS) == 1);
    GOES_WELL(unitwait_child_wait_all(child, LONG_MS, &end, &error));
    CHECK(end.ending == UNITWAIT_ENDED_KILLED && end.signal == SIGTERM && WTERMSIG(end.status) == SIGTERM);
    done(child), done(command), done(scope);
}

static void a_command_that_cannot_be_executed_leaves_nothing(void) {
    char name[64];
    unitwait_command *command = unitwait_command_new("/nonexistent/command");
    unitwait_request *scope = scope_for(name, "exec");
    unitwait_child *child = NULL;
    unitwait_error *error = NULL;
    CHECK(unitwait_spawn(manager, command, scope, LONG_MS, &child, &error) == UNITWAIT_EXEC);
    CHECK(child == NULL && unitwait_error_errno(error) == ENOENT);
    done(error), done(command);
    CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);

    command = unitwait_command_new("true");
    CHECK(unitwait_command_descriptor(command, 3, 0) == UNITWAIT_INVALID_INPUT);
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_spawn(manager, command, scope, LONG_MS, &child, &error));
    done(command), command = unitwait_command_new("true");
    CHECK(unitwait_command_descriptor(command, 0, 1 << 20) == UNITWAIT_SYSTEM);
    done(command), command = unitwait_command_new("true");
    CHECK(unitwait_command_environment(command, "A=B", "c") == UNITWAIT_INVALID_INPUT);
    CHECK(unitwait_command_argument(command, NULL) == UNITWAIT_INVALID_INPUT);
    CHECK(unitwait_command_process_group(command, -1) == UNITWAIT_INVALID_INPUT);
    done(command), command = unitwait_command_new(NULL);
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_spawn(manager, command, scope, LONG_MS, &child, &error));
    done(command), done(scope);
}

static void a_watch_tells_of_a_scopes_life(void) {
    char name[64];
    const char *patterns[] = {"ffi-watch-*.scope"}, *none[] = {NULL};
    pid_t pid = sleeper();
    unitwait_watch *watch = NULL;
    unitwait_list *event = NULL;
    unitwait_active *active;
    int active_seen = 0, over = 0;
    struct pollfd bell;
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_watch_units(manager, none, 1, LONG_MS, &watch, &error));
    GOES_WELL(unitwait_watch_units(manager, patterns, 1, LONG_MS, &watch, &error));
    FAILS(UNITWAIT_TIMEOUT, unitwait_watch_next(watch, 10, &event, &error));
    bell.fd = unitwait_watch_descriptor(watch), bell.events = POLLIN;
    CHECK(poll(&bell, 1, 0) == 0);
    active = created(manager, scope_name(name, sizeof name, "watch"), pid);
    CHECK(poll(&bell, 1, LONG_MS) == 1);
    GOES_WELL(unitwait_active_stop(active, LONG_MS, NULL, &error));
    while (!over) {
        GOES_WELL(unitwait_watch_next(watch, LONG_MS, &event, &error));
        CHECK(same(unitwait_list_text(event, 0, UNITWAIT_FIELD_UNIT), name));
        active_seen |= number_of(event, 0, UNITWAIT_FIELD_KIND) == UNITWAIT_EVENT_CHANGED &&
                       same(unitwait_list_text(event, 0, UNITWAIT_FIELD_ACTIVE_STATE), "active");
        over = active_seen && number_of(event, 0, UNITWAIT_FIELD_KIND) == UNITWAIT_EVENT_UNLOADED;
        done(event);
    }
    CHECK(unitwait_watch_dropped(watch) == 0);
    done(watch), done(active), reap(pid);
}

static void what_is_logged_comes_to_the_program(void) {
    char name[64];
    int seen;
    pid_t pid = sleeper();
    unitwait_active *active;
    GOES_WELL(unitwait_set_log(count_lines, &lines, UNITWAIT_LOG_DEBUG, &error));
    active = created(manager, scope_name(name, sizeof name, "log"), pid);
    GOES_WELL(unitwait_active_stop(active, LONG_MS, NULL, &error));
    seen = __atomic_load_n(&lines, __ATOMIC_RELAXED);
    CHECK(seen > 0);
    GOES_WELL(unitwait_set_log(NULL, NULL, UNITWAIT_LOG_OFF, &error));
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_set_log(count_lines, NULL, 6, &error));
    done(active), reap(pid);
}

int main(void) {
    manager = system_manager();
    a_command_runs_in_its_scope_from_its_first_instruction();
    a_child_is_signalled_and_its_descriptor_tells_its_end();
    a_command_that_cannot_be_executed_leaves_nothing();
    a_watch_tells_of_a_scopes_life();
    what_is_logged_comes_to_the_program();
    done(manager);
    all_is_given_back();
    return 0;
}

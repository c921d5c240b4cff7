/*
 * unitwait: create systemd's transient units and wait for them, the blocking way.
 *
 * Made from the library's source; do not edit.
 *
 * Ownership, one rule: every handle that a function gives, by its return value or through a place for a result, is
 * the caller's, and goes back once to unitwait_free(). That holds for errors, lists and values too. No function takes a
 * handle away, and none needs another to stay: what is behind a manager lives as long as anything that came of it.
 * Every text that a function gives is its handle's own, and ends when that is freed. What is given to a function stays
 * the caller's, and is copied where it is needed longer than for the call.
 *
 * Threads: every function may be called from any thread, and with one handle by many threads at once; one that is freed
 * meanwhile stays for as long as a call uses it. After a fork the child may free its handles, and what it asks through
 * the parent's manager answers UNITWAIT_FORKED; it may open its own. Signals are neither caught nor blocked in the
 * caller's threads. Calls need some 32 KiB of stack.
 *
 * Blocking: no function blocks unless its text says until when, and none for ever. A timeout is in milliseconds; -1 is
 * UNITWAIT_DEFAULT_TIMEOUT, the manager's own (30 seconds unless it was opened otherwise); 0 has passed already, so that
 * only what is there at once is given; other negative numbers are refused.
 *
 * Handles are keys, not addresses: a leak checker does not see one that was forgotten, unitwait_open_handles() does.
 * Enumerations that are given are `int`, so that a number which is none of theirs is told and not undefined.
 *
 * Requests: unitwait_create() takes scopes and slices, unitwait_create_scopes() and unitwait_spawn() scopes,
 * unitwait_submit() scopes, slices and jobs, unitwait_set_unit() and unitwait_active_set() updates.
 *
 * Errors: a call that can fail gives a code, and, where the last argument is not NULL, there an error object with
 * everything that is known, or NULL where it went well. `errno` says nothing. NULL where a handle or text is needed,
 * a handle that was freed or is of another type, a text that is not UTF-8, a number that is out of range: each is
 * UNITWAIT_INVALID_INPUT, before anything is sent. Places for results are set to NULL or 0 where a call fails.
 *
 * Unloading: dlclose() leaves the library in memory, for the dbus thread of an open manager runs in it.
 */

#ifndef UNITWAIT_H
#define UNITWAIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The number of this header's ABI, for unitwait_open() and unitwait_builder_new(): a library of another answers
// UNITWAIT_ABI_MISMATCH, whatever else has changed.
#define UNITWAIT_ABI 1

// The most that an array may have.
#define UNITWAIT_MOST 65536

// A timeout that is the manager's default.
#define UNITWAIT_DEFAULT_TIMEOUT -1

// How it came to be that a unit is there.
typedef enum unitwait_outcome {
  // It was created.
  UNITWAIT_CREATED = 0,
  // It was there, and the processes are in it now.
  UNITWAIT_JOINED = 1,
  // What was there was stopped, and it was created anew.
  UNITWAIT_REPLACED = 2,
  // It was there, and was taken as it is.
  UNITWAIT_ACCEPTED = 3,
  // It was there, and a handle to it was asked for.
  UNITWAIT_ADOPTED = 4,
} unitwait_outcome;

// How a call ended.
typedef enum unitwait_code {
  // It went well.
  UNITWAIT_OK = 0,
  // The request itself is wrong; nothing was sent and nothing has changed. Handles that were freed are told so too.
  UNITWAIT_INVALID_INPUT = 1,
  // No connection to the manager could be made.
  UNITWAIT_CONNECT = 2,
  // systemd or the bus refused for want of rights.
  UNITWAIT_ACCESS_DENIED = 3,
  // A unit of that name is there already.
  UNITWAIT_UNIT_EXISTS = 4,
  // No unit of that name is loaded, or the run that a handle means is over.
  UNITWAIT_NO_SUCH_UNIT = 5,
  // The handle's run is over, and another has its name; that one was not touched.
  UNITWAIT_SUPERSEDED = 6,
  // A process that was to be placed is not there (any more).
  UNITWAIT_NO_SUCH_PROCESS = 7,
  // systemd does not know a property, or does not let it be set on this kind of unit.
  UNITWAIT_UNKNOWN_PROPERTY = 8,
  // No such job is queued or running.
  UNITWAIT_NO_SUCH_JOB = 9,
  // The job ended, and not with `done`.
  UNITWAIT_JOB_FAILED = 10,
  // The deadline came first. The error's stage says how far the request was.
  UNITWAIT_TIMEOUT = 11,
  // The connection ended while the request was under way.
  UNITWAIT_DISCONNECTED = 12,
  // The job is done, and the kernel has processes elsewhere: unitwait_error_details() says where.
  UNITWAIT_MISPLACED = 13,
  // A condition of the unit was not met, so systemd did not start it.
  UNITWAIT_CONDITION_UNMET = 14,
  // Limits were required, and the kernel does not hold them: unitwait_error_details() says which.
  UNITWAIT_LIMIT = 15,
  // Processes can join a running unit only where it is delegated, and it is not.
  UNITWAIT_NOT_DELEGATED = 16,
  // The unit has no control group of that name below its own.
  UNITWAIT_NO_SUCH_CONTROL_GROUP = 17,
  // It cannot be done to this unit, or on this machine's layout of control groups.
  UNITWAIT_UNSUPPORTED = 18,
  // To replace the unit would kill a process that is to be placed in it.
  UNITWAIT_WOULD_KILL = 19,
  // The command could not be executed; nothing of it has run.
  UNITWAIT_EXEC = 20,
  // The handle's manager was opened by another process, before a fork.
  UNITWAIT_FORKED = 21,
  // The manager's thread is gone, or the ticket's answer was taken.
  UNITWAIT_CLOSED = 22,
  // The operating system refused something: unitwait_error_errno() says what.
  UNITWAIT_SYSTEM = 23,
  // Any other D-Bus error: unitwait_error_dbus_name() says which.
  UNITWAIT_DBUS = 24,
  // systemd answered with a message of another form than it documents.
  UNITWAIT_PROTOCOL = 25,
  // The program was built with a header of another ABI than the library's.
  UNITWAIT_ABI_MISMATCH = 26,
  // A fault of this library's own, stopped at its boundary.
  UNITWAIT_INTERNAL = 27,
  // The end has not come yet: a ticket's answer, a child's exit. It is no fault, and there is no error object.
  UNITWAIT_PENDING = 28,
} unitwait_code;

// How a run ended.
typedef enum unitwait_ending {
  // Its processes ended, by themselves or by signals of which systemd was not the sender.
  UNITWAIT_ENDED_EXITED = 0,
  // Its process was killed by a signal; told of spawned children alone.
  UNITWAIT_ENDED_KILLED = 1,
  // It was stopped by request, and a wait was there to see it.
  UNITWAIT_ENDED_STOPPED = 2,
  // It was killed for want of memory.
  UNITWAIT_ENDED_OOM_KILLED = 3,
  // It ran out of time.
  UNITWAIT_ENDED_TIMED_OUT = 4,
  // It failed.
  UNITWAIT_ENDED_FAILED = 5,
  // It is over, and nobody knows how.
  UNITWAIT_ENDED_UNKNOWN = 6,
} unitwait_ending;

// How far a request came.
typedef enum unitwait_stage {
  // It matters to no such error.
  UNITWAIT_STAGE_NONE = 0,
  // The command's child was not yet at the door.
  UNITWAIT_STAGE_FORK = 1,
  // There was no connection yet, or the driver had not looked at it.
  UNITWAIT_STAGE_CONNECT = 2,
  // It waited in line for its turn; nothing was sent.
  UNITWAIT_STAGE_QUEUED = 3,
  // It was sent, and systemd had not answered.
  UNITWAIT_STAGE_CALL = 4,
  // systemd accepted it, and its job was not over.
  UNITWAIT_STAGE_JOB = 5,
  // The job was done, and the kernel was being looked at.
  UNITWAIT_STAGE_VERIFY = 6,
  // The end of something was being waited for.
  UNITWAIT_STAGE_WAIT = 7,
  // Some of its steps may have been carried out, and the next waited in line.
  UNITWAIT_STAGE_HALF_WAY = 8,
} unitwait_stage;

// Which manager, and by which way.
typedef enum unitwait_bus {
  // The system manager over the system bus.
  UNITWAIT_SYSTEM_BUS = 0,
  // The calling user's own manager over the user's bus.
  UNITWAIT_USER_BUS = 1,
  // The system manager over its own socket, with no bus between; root only.
  UNITWAIT_PRIVATE_SOCKET = 2,
} unitwait_bus;

// How one unit depends on another (systemd.unit(5)).
typedef enum unitwait_dependency {
  // It starts after the other (After=).
  UNITWAIT_AFTER = 0,
  // It starts before the other (Before=).
  UNITWAIT_BEFORE = 1,
  // It needs the other (Requires=).
  UNITWAIT_REQUIRES = 2,
  // It would like the other to be there (Wants=).
  UNITWAIT_WANTS = 3,
  // It ends with the other (BindsTo=).
  UNITWAIT_BINDS_TO = 4,
  // It is stopped and restarted with the other (PartOf=).
  UNITWAIT_PART_OF = 5,
} unitwait_dependency;

// Which devices a unit's processes may use, before its list of allowed ones is looked at.
typedef enum unitwait_device_policy {
  // All of them; where some are allowed by name, those and the pseudo devices.
  UNITWAIT_DEVICES_AUTO = 0,
  // The pseudo devices (/dev/null, /dev/zero, …), and those allowed.
  UNITWAIT_DEVICES_CLOSED = 1,
  // Those allowed, and no other.
  UNITWAIT_DEVICES_STRICT = 2,
} unitwait_device_policy;

// What happened to a unit that is watched.
typedef enum unitwait_event {
  // systemd knows the unit from now on.
  UNITWAIT_EVENT_LOADED = 0,
  // The unit is in another state.
  UNITWAIT_EVENT_CHANGED = 1,
  // systemd has forgotten the unit.
  UNITWAIT_EVENT_UNLOADED = 2,
  // Events may have been missed: look at the units again.
  UNITWAIT_EVENT_INTERRUPTED = 3,
} unitwait_event;

// What a row may have.
typedef enum unitwait_field {
  // A text: the row in one line, for people.
  UNITWAIT_FIELD_MESSAGE = 0,
  // A text: a unit's name.
  UNITWAIT_FIELD_UNIT = 1,
  // A text: a unit's description.
  UNITWAIT_FIELD_DESCRIPTION = 2,
  // A text: "loaded", "not-found", …
  UNITWAIT_FIELD_LOAD_STATE = 3,
  // A text: "active", "inactive", "failed", …
  UNITWAIT_FIELD_ACTIVE_STATE = 4,
  // A text: the state in the words of the unit's type.
  UNITWAIT_FIELD_SUB_STATE = 5,
  // A text: a unit's object path on D-Bus.
  UNITWAIT_FIELD_OBJECT_PATH = 6,
  // A text: a property's name on D-Bus.
  UNITWAIT_FIELD_PROPERTY = 7,
  // A text: a property's value; unitwait_list_value() has it with its type.
  UNITWAIT_FIELD_VALUE = 8,
  // A text: what was asked for of a limit.
  UNITWAIT_FIELD_ASKED = 9,
  // A text: what the kernel has of a limit, or the control group that a process is in.
  UNITWAIT_FIELD_FOUND = 10,
  // A text: the kernel's file of a limit.
  UNITWAIT_FIELD_FILE = 11,
  // A text and a number: why a limit does not hold, as one of enum unitwait_gap.
  UNITWAIT_FIELD_REASON = 12,
  // A text and a number: a process's number.
  UNITWAIT_FIELD_PID = 13,
  // A text: the hierarchy of control groups in which a process is elsewhere.
  UNITWAIT_FIELD_HIERARCHY = 14,
  // A text: the control group in which a process should be.
  UNITWAIT_FIELD_EXPECTED = 15,
  // A text and a number: what a row is, as one of enum unitwait_finding or enum unitwait_event.
  UNITWAIT_FIELD_KIND = 16,
  // A text: a controller ("memory").
  UNITWAIT_FIELD_CONTROLLER = 17,
} unitwait_field;

// What an audit found.
typedef enum unitwait_finding {
  // The unit, or the run that a handle means, is over.
  UNITWAIT_FINDING_GONE = 0,
  // The run is over, and another has its name.
  UNITWAIT_FINDING_REPLACED = 1,
  // A process is not in the unit's control group.
  UNITWAIT_FINDING_MISPLACED = 2,
  // A limit was written past systemd, whose next daemon-reload may undo it.
  UNITWAIT_FINDING_OVERWRITTEN = 3,
  // The unit's property was changed since.
  UNITWAIT_FINDING_CHANGED = 4,
  // The kernel does not hold a limit.
  UNITWAIT_FINDING_NOT_HELD = 5,
} unitwait_finding;

// Why a limit does not hold, or is not known to.
typedef enum unitwait_gap {
  // The kernel has the controller in no hierarchy that systemd sets limits in.
  UNITWAIT_GAP_NO_CONTROLLER = 0,
  // On cgroup v1, where the controller is, there is no such limit.
  UNITWAIT_GAP_NOT_IN_LEGACY = 1,
  // The controller is not enabled for the unit's control group.
  UNITWAIT_GAP_NOT_ENABLED = 2,
  // This kernel's controller has no such file.
  UNITWAIT_GAP_NO_FILE = 3,
  // No file of the kernel shows whether it holds.
  UNITWAIT_GAP_NOT_SHOWN = 4,
  // The unit does not run, and gets the limit when it starts.
  UNITWAIT_GAP_NOT_RUNNING = 5,
  // The kernel holds something else.
  UNITWAIT_GAP_DIFFERS = 6,
  // The file could not be read.
  UNITWAIT_GAP_UNREADABLE = 7,
} unitwait_gap;

// What to do about jobs that a unit has already (org.freedesktop.systemd1(5), StartUnit()).
typedef enum unitwait_job_mode {
  // Replace a conflicting one.
  UNITWAIT_MODE_REPLACE = 0,
  // Fail where there is one.
  UNITWAIT_MODE_FAIL = 1,
  // Replace it, and let none replace this one.
  UNITWAIT_MODE_REPLACE_IRREVERSIBLY = 2,
  // Look at no dependencies.
  UNITWAIT_MODE_IGNORE_DEPENDENCIES = 3,
  // Look at no requirements.
  UNITWAIT_MODE_IGNORE_REQUIREMENTS = 4,
} unitwait_job_mode;

// How much matters.
typedef enum unitwait_log_level {
  // Nothing is logged.
  UNITWAIT_LOG_OFF = 0,
  // What has gone wrong, and concerns more than one call.
  UNITWAIT_LOG_ERROR = 1,
  // What may have gone wrong.
  UNITWAIT_LOG_WARN = 2,
  // What is worth knowing.
  UNITWAIT_LOG_INFO = 3,
  // What each request does.
  UNITWAIT_LOG_DEBUG = 4,
  // All there is.
  UNITWAIT_LOG_TRACE = 5,
} unitwait_log_level;

// What to do where a unit of the asked name exists already.
typedef enum unitwait_on_exists {
  // UNITWAIT_UNIT_EXISTS at once; a failed leftover is reset and the request tried once more. The default.
  UNITWAIT_EXISTS_FAIL = 0,
  // Scopes: the processes join the running unit, which must be delegated unless they are in it already.
  UNITWAIT_EXISTS_JOIN = 1,
  // What is there is stopped and the unit made anew, inside of the one deadline.
  UNITWAIT_EXISTS_REPLACE = 2,
  // Slices: take what is there.
  UNITWAIT_EXISTS_ACCEPT = 3,
} unitwait_on_exists;

// What a job does.
typedef enum unitwait_verb {
  // Start the unit.
  UNITWAIT_START = 0,
  // Stop the unit, and wait until its processes are gone.
  UNITWAIT_STOP = 1,
  // Stop the unit if it runs, then start it.
  UNITWAIT_RESTART = 2,
} unitwait_verb;

// Which processes of a unit a signal is for.
typedef enum unitwait_whom {
  // All of them.
  UNITWAIT_KILL_ALL = 0,
  // The main process (services).
  UNITWAIT_KILL_MAIN = 1,
  // The control process (services).
  UNITWAIT_KILL_CONTROL = 2,
} unitwait_whom;

// One run of a scope or slice: its name, and its invocation ID. Owned by the caller; freeing it leaves the unit alone.
//
// What is asked through it refuses with UNITWAIT_SUPERSEDED once another run has the name.
typedef struct unitwait_active unitwait_active;

// How a manager is to be opened. Owned by the caller.
typedef struct unitwait_builder unitwait_builder;

// A command that runs in a scope of its own. Owned by the caller; freeing it leaves the process alone, which is then
// the program's own to collect by waitpid(2).
typedef struct unitwait_child unitwait_child;

// A command that is to be executed. Owned by the caller; it may be spawned any number of times.
typedef struct unitwait_command unitwait_command;

// What went wrong, with all that is known of it. Owned by the caller.
typedef struct unitwait_error unitwait_error;

// Rows that a call answered with: units, limits, processes, properties, findings, an event. Owned by the caller.
typedef struct unitwait_list unitwait_list;

// A connection to a systemd, with a dbus thread of its own. Owned by the caller.
//
// Any number of threads may call over it at once, and no caller waits for another. The thread ends when it and all
// handles that came of it are freed. The child of a fork has to open its own.
typedef struct unitwait_manager unitwait_manager;

// What is to be asked for. Owned by the caller; it may be used any number of times.
//
// What a setter refuses is remembered: the request is refused by whatever uses it, with the first refusal, before
// anything is sent. So a program may look at the result of each setter, or only at that of the call.
typedef struct unitwait_request unitwait_request;

// A request under way. Owned by the caller; freeing it leaves the request to be carried out, or given up at its
// deadline.
typedef struct unitwait_ticket unitwait_ticket;

// A value with its D-Bus type. Owned by the caller.
//
// Numbers keep the width that the wire has: systemd refuses an `i32` where it wants a `u32`. Times are in
// microseconds and sizes in bytes, as in org.freedesktop.systemd1(5); "no limit" is UINT64_MAX.
typedef struct unitwait_value unitwait_value;

// The changes of units, in a bounded queue. Owned by the caller; freeing it ends the watch.
typedef struct unitwait_watch unitwait_watch;

// How long each stage of a request took, in microseconds.
typedef struct unitwait_times {
  // From asking until it was sent.
  uint64_t queued_us;
  // From then until systemd had accepted it.
  uint64_t accepted_us;
  // From then until its job was done.
  uint64_t done_us;
  // From then until the kernel was looked at.
  uint64_t verified_us;
} unitwait_times;

// A job that ended with `done`.
typedef struct unitwait_finished {
  // The job.
  uint32_t job;
  // How long each stage took.
  struct unitwait_times times;
} unitwait_finished;

// The end of a run.
typedef struct unitwait_ended {
  // How it came about.
  enum unitwait_ending ending;
  // The signal that killed it, 0 for none.
  int signal;
  // The child's status as wait(2) has it, -1 where it is not known.
  int status;
  // systemd's own word for the result ("success", "oom-kill", …), empty where it has none.
  char result[32];
} unitwait_ended;

// What is called with each line: with the data that was given, a level of enum unitwait_log_level, and a text that lives
// as long as the call.
typedef void (*unitwait_log_callback)(void *data, int level, const char *message);

// What a manager's driver has done so far.
typedef struct unitwait_stats {
  // Requests that wait in line for room among the calls in flight.
  uint64_t queued;
  // Calls that systemd has not answered yet.
  uint64_t in_flight;
  // How many calls may be in flight.
  uint64_t window;
  // Requests that are under way.
  uint64_t requests;
  // Requests that were answered, of which something is still to be settled.
  uint64_t settling;
  // Requests that went well.
  uint64_t succeeded;
  // Requests that their deadlines overtook.
  uint64_t timed_out;
  // Requests that failed otherwise.
  uint64_t failed;
  // Results that came after their callers had gone.
  uint64_t late;
  // Messages that were of no request, or from a stranger.
  uint64_t foreign;
  // Connections made.
  uint64_t connections;
  // The longest that a request took, in microseconds.
  uint64_t longest_us;
  // Messages sent.
  uint64_t messages_sent;
  // Messages received.
  uint64_t messages_received;
  // What the sent messages had in bytes.
  uint64_t bytes_sent;
  // What the received messages had in bytes.
  uint64_t bytes_received;
} unitwait_stats;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The unit's name, NULL where it is no active unit's handle. The handle's own; does not block.
const char *unitwait_active_unit(const struct unitwait_active *active);

// The unit's control group ("/jobs.slice/job.scope"), empty where it was gone before it could be read. As
// unitwait_active_unit().
const char *unitwait_active_control_group(const struct unitwait_active *active);

// The directory of the control group in systemd's own hierarchy, NULL where it is not known. As unitwait_active_unit().
const char *unitwait_active_path(const struct unitwait_active *active);

// The directory of the control group in the hierarchy of a controller ("memory"), NULL where there is none. As
// unitwait_active_unit().
const char *unitwait_active_controller_path(const struct unitwait_active *active,
                                            const char *controller);

// The run's invocation ID, 32 hexadecimal digits; NULL where the run was over before it could be read. As
// unitwait_active_unit().
const char *unitwait_active_invocation_id(const struct unitwait_active *active);

// Over how many child slices its slice was spread when it was created, 0 where it was not. Does not block.
uint32_t unitwait_active_spread(const struct unitwait_active *active);

// How it came to be there; UNITWAIT_CREATED where it is no active unit's handle. Does not block.
enum unitwait_outcome unitwait_active_outcome(const struct unitwait_active *active);

// The job that created it and how long its stages took; all 0 where there was none. False where it is no active unit's
// handle. Does not block.
bool unitwait_active_job(const struct unitwait_active *active,
                         struct unitwait_finished *job);

// The limits that were asked for when it was created and that the kernel does not hold: a row for each, with
// UNITWAIT_FIELD_MESSAGE, _PROPERTY, _ASKED, _REASON and, where there are any, _FOUND and _FILE. NULL where it is no
// active unit's handle. The caller's to free; does not block.
struct unitwait_list *unitwait_active_limit_gaps(const struct unitwait_active *active);

// The optional properties that systemd does not know and that were left out: a row for each, with
// UNITWAIT_FIELD_PROPERTY. As unitwait_active_limit_gaps().
struct unitwait_list *unitwait_active_left_out(const struct unitwait_active *active);

// Stops this run, and waits until its processes are gone; what the job was goes to `job`, which may be NULL. Blocks
// until then, or for the timeout, after which the stop goes on.
enum unitwait_code unitwait_active_stop(const struct unitwait_active *active,
                                        int64_t timeout_ms,
                                        struct unitwait_finished *job,
                                        struct unitwait_error **error);

// Sends a signal to the run's processes, of enum unitwait_whom. Blocks until systemd has sent it, or for the timeout. A
// retry sends it again.
enum unitwait_code unitwait_active_kill(const struct unitwait_active *active,
                                        int whom,
                                        int signal,
                                        int64_t timeout_ms,
                                        struct unitwait_error **error);

// Kills all processes of the run, those of its sub-groups too, until none is left. Blocks until then, or for the
// timeout.
enum unitwait_code unitwait_active_kill_all(const struct unitwait_active *active,
                                            int64_t timeout_ms,
                                            struct unitwait_error **error);

// Waits until the run's control group has no process. Blocks until then, or for the timeout.
enum unitwait_code unitwait_active_wait_empty(const struct unitwait_active *active,
                                              int64_t timeout_ms,
                                              struct unitwait_error **error);

// Freezes the run's processes, and waits until the kernel says so. Blocks until then, or for the timeout.
enum unitwait_code unitwait_active_freeze(const struct unitwait_active *active,
                                          int64_t timeout_ms,
                                          struct unitwait_error **error);

// Thaws the run's processes. As unitwait_active_freeze().
enum unitwait_code unitwait_active_thaw(const struct unitwait_active *active,
                                        int64_t timeout_ms,
                                        struct unitwait_error **error);

// Changes the run by an update, as unitwait_set_unit().
enum unitwait_code unitwait_active_set(const struct unitwait_active *active,
                                       const struct unitwait_request *request,
                                       int64_t timeout_ms,
                                       struct unitwait_list **gaps,
                                       struct unitwait_list **left_out,
                                       struct unitwait_error **error);

// Reads one property of the run, as unitwait_property().
enum unitwait_code unitwait_active_property(const struct unitwait_active *active,
                                            const char *property,
                                            int64_t timeout_ms,
                                            struct unitwait_value **value,
                                            struct unitwait_error **error);

// Reads all properties of the run, as unitwait_properties().
enum unitwait_code unitwait_active_properties(const struct unitwait_active *active,
                                              int64_t timeout_ms,
                                              struct unitwait_list **properties,
                                              struct unitwait_error **error);

// Compares what was asked for through this handle with what the kernel holds, as unitwait_audit_unit().
enum unitwait_code unitwait_active_audit(const struct unitwait_active *active,
                                         int64_t timeout_ms,
                                         struct unitwait_list **findings,
                                         struct unitwait_error **error);

// The processes of the run, those of its sub-groups too, as the kernel has them: a row for each, with
// UNITWAIT_FIELD_PID. Does not block.
enum unitwait_code unitwait_active_processes(const struct unitwait_active *active,
                                             struct unitwait_list **processes,
                                             struct unitwait_error **error);

// Waits for the end of the run; how it ended goes to `end`, which may be NULL. Blocks until then, or for the timeout.
//
// systemd learns no exit status of a scope's processes, and forgets most of the rest with the run: a wait that is there
// when the end comes can tell a stop from an end by itself, one that comes later is told UNITWAIT_ENDED_UNKNOWN. Signals
// and statuses are told of children that were spawned here, by unitwait_child_wait_all().
enum unitwait_code unitwait_active_wait(const struct unitwait_active *active,
                                        int64_t timeout_ms,
                                        struct unitwait_ended *end,
                                        struct unitwait_error **error);

// Scopes: has processes join the run, which must be delegated; into the sub-group of its control group that is named,
// or into its own where that is NULL. Blocks until they are in it, or for the timeout.
enum unitwait_code unitwait_active_attach(const struct unitwait_active *active,
                                          const char *subgroup,
                                          const uint32_t *pids,
                                          size_t length,
                                          int64_t timeout_ms,
                                          struct unitwait_error **error);

// What kind of error it is; UNITWAIT_INVALID_INPUT where it is no error's handle. Does not block.
enum unitwait_code unitwait_error_code(const struct unitwait_error *error);

// One line for people: what was asked, how far it came, why it failed and what can be done. Never NULL: where it is no
// error's handle it says so. The error's own; does not block.
const char *unitwait_error_message(const struct unitwait_error *error);

// The name of a code of enum unitwait_code ("timeout", "unit-exists", …), for logs; never NULL, and as long-lived as the
// program. Does not block.
const char *unitwait_code_name(int code);

// The name of the D-Bus error behind it, NULL where there is none. The error's own; does not block.
const char *unitwait_error_dbus_name(const struct unitwait_error *error);

// The unit that was meant, NULL where there is none. The error's own; does not block.
const char *unitwait_error_unit(const struct unitwait_error *error);

// What was asked, in words ("create scope"), NULL where it is not known. The error's own; does not block.
const char *unitwait_error_operation(const struct unitwait_error *error);

// How far the request came, for UNITWAIT_TIMEOUT and UNITWAIT_DISCONNECTED. Does not block.
enum unitwait_stage unitwait_error_stage(const struct unitwait_error *error);

// The job that systemd made for the request, 0 where there is none. Does not block.
uint32_t unitwait_error_job(const struct unitwait_error *error);

// How the job ended, in systemd's word ("failed", "timeout", "canceled", …), for UNITWAIT_JOB_FAILED; NULL for other
// errors. The error's own; does not block.
const char *unitwait_error_job_result(const struct unitwait_error *error);

// The operating system's number for it (as errno has them), 0 where there is none. Does not block.
int unitwait_error_errno(const struct unitwait_error *error);

// The limits that do not hold (UNITWAIT_LIMIT) or the processes that are elsewhere (UNITWAIT_MISPLACED), as
// unitwait_active_limit_gaps() and unitwait_audit_unit() list them; NULL for other errors. The caller's to free; does
// not block.
struct unitwait_list *unitwait_error_details(const struct unitwait_error *error);

// Gives any handle of this library back. NULL is nothing to do. What is under way over a handle goes on: a ticket's
// request, a child's process and a unit stay as they are. Blocks for little more than a second at the most, where the last handle
// of a manager goes and its thread with it. Every thread may call it, in a child of a fork as well.
//
// UNITWAIT_INVALID_INPUT where it was freed already or is none of this library's: nothing is touched then.
enum unitwait_code unitwait_free(void *handle);

// How many handles are not freed yet, for a program's own tests. Does not block.
size_t unitwait_open_handles(void);

// How many rows there are; 0 where it is no list's handle. Does not block.
size_t unitwait_list_length(const struct unitwait_list *list);

// The text of a row's field (enum unitwait_field), NULL where the row has none or there is no such row. Rows count
// from 0. The list's own; does not block.
const char *unitwait_list_text(const struct unitwait_list *list,
                               size_t row,
                               int field);

// The number of a row's field. False, and 0 in its place, where the row has none. Does not block.
bool unitwait_list_number(const struct unitwait_list *list, size_t row, int field, uint64_t *number);

// The value of a row that is a property, with its type; NULL where the row is none. The caller's to free; does not
// block.
struct unitwait_value *unitwait_list_value(const struct unitwait_list *list,
                                           size_t row);

// Has this function called with each line that the library logs, of this level of enum unitwait_log_level and of those
// that matter more; NULL for none, as in the beginning. Process-wide. Does not block.
//
// The function is called on the thread that logs, the dbus thread among them, by several at once: it must be
// thread-safe, return soon, not jump out or throw, and not call functions of this library that block. One that was
// replaced may still be under way when this returns, so what it was given must live on.
//
// UNITWAIT_UNSUPPORTED in a program with Rust code of its own that set another logger.
enum unitwait_code unitwait_set_log(unitwait_log_callback callback,
                                    void *data,
                                    int level,
                                    struct unitwait_error **error);

// The library's version ("0.1.0"), never NULL; it lives as long as the program. Does not block.
const char *unitwait_version(void);

// The library's ABI, to be compared with the header's UNITWAIT_ABI before anything else. Does not block.
uint32_t unitwait_abi(void);

// Opens a manager of enum unitwait_bus with every option at its default; the first argument is UNITWAIT_ABI. Blocks
// until systemd has answered, or for the timeout.
enum unitwait_code unitwait_open(uint32_t abi,
                                 int bus,
                                 int64_t timeout_ms,
                                 struct unitwait_manager **manager,
                                 struct unitwait_error **error);

// How to open a manager of enum unitwait_bus, to be changed by the functions below; the first argument is UNITWAIT_ABI.
// Never NULL: what is refused is refused by unitwait_builder_open(). The caller's to free. Does not block, as none of
// the functions does that change it.
struct unitwait_builder *unitwait_builder_new(uint32_t abi,
                                              int bus);

// The manager at a D-Bus address ("unix:path=/run/dbus/system_bus_socket") in place of the one named before.
enum unitwait_code unitwait_builder_address(struct unitwait_builder *builder, const char *address);

// Whether systemd itself is at the address, and no bus between.
enum unitwait_code unitwait_builder_direct(struct unitwait_builder *builder, bool direct);

// What a timeout of -1 means, in milliseconds, from 0; 30000 where nothing is said.
enum unitwait_code unitwait_builder_default_timeout(struct unitwait_builder *builder, uint64_t milliseconds);

// How many calls may be in flight at once; others wait in line.
enum unitwait_code unitwait_builder_window(struct unitwait_builder *builder, size_t calls);

// The name of the dbus thread, of which Linux shows the first 15 bytes.
enum unitwait_code unitwait_builder_thread_name(struct unitwait_builder *builder, const char *name);

// Whether unitwait_builder_open() does not wait for systemd, and leaves it to the first request to find out whether one
// answers: that request then takes a round trip less. For a program that makes one, and ends or becomes another. A scope
// whose slice is spread over as many as suit waits for systemd's first word when it is submitted.
enum unitwait_code unitwait_builder_lazy(struct unitwait_builder *builder,
                                         bool lazy);

// Opens the manager. Blocks until systemd has answered, or for the timeout; not at all where it is lazy. The builder stays
// the caller's.
enum unitwait_code unitwait_builder_open(const struct unitwait_builder *builder,
                                         int64_t timeout_ms,
                                         struct unitwait_manager **manager,
                                         struct unitwait_error **error);

// systemd's version, as it called itself when the manager was opened; NULL where it is no manager's handle. The manager's
// own; does not block. Of a lazy one it is empty until systemd has answered, and for good where nobody did by the timeout
// of unitwait_builder_open().
const char *unitwait_manager_version(const struct unitwait_manager *manager);

// The D-Bus address in use. As unitwait_manager_version().
const char *unitwait_manager_address(const struct unitwait_manager *manager);

// How this machine's control groups are laid out: "unified", "hybrid" or "legacy". As unitwait_manager_version().
const char *unitwait_manager_cgroup_mode(const struct unitwait_manager *manager);

// The controllers in which systemd can set limits here, a row with UNITWAIT_FIELD_CONTROLLER for each; NULL where it
// is no manager's handle. The caller's to free; does not block.
struct unitwait_list *unitwait_manager_controllers(const struct unitwait_manager *manager);

// Reads the driver's counters. Blocks for two seconds at the most.
enum unitwait_code unitwait_manager_stats(const struct unitwait_manager *manager,
                                          struct unitwait_stats *stats,
                                          struct unitwait_error **error);

// A scope of this name (`job.scope`). Never NULL: a name that is none is refused when the request is used. The
// caller's to free. Does not block, as none of the functions does that make and change requests.
struct unitwait_request *unitwait_scope_new(const char *name);

// A slice of this name (`jobs.slice`; `a-b.slice` is a child of `a.slice`). Otherwise as unitwait_scope_new().
struct unitwait_request *unitwait_slice_new(const char *name);

// A change to a unit that is there. Never NULL; the caller's to free.
struct unitwait_request *unitwait_update_new(void);

// A job for a unit, by its name: a verb of enum unitwait_verb in a mode of enum unitwait_job_mode. Never NULL; the
// caller's to free.
struct unitwait_request *unitwait_job_new(int verb,
                                          const char *unit,
                                          int mode);

// Looks at a request without sending anything: UNITWAIT_OK, or why it would be refused. Whether the processes of a
// scope are there is looked at when it is used.
enum unitwait_code unitwait_request_check(const struct unitwait_request *request,
                                          struct unitwait_error **error);

// Scopes: a process to be placed in it. May be said several times.
enum unitwait_code unitwait_request_pid(struct unitwait_request *request, int64_t pid);

// Scopes: the calling process itself is to be placed in it.
enum unitwait_code unitwait_request_own_process(struct unitwait_request *request);

// Scopes: the slice that it belongs to (Slice=).
enum unitwait_code unitwait_request_slice(struct unitwait_request *request, const char *slice);

// Scopes: spreads the scopes of its slice over so many child slices of it, 1 to 10000, or, where it is 0, over as many as
// suit what is there: a create does not get dearer then, however many scopes there are. A scope goes to the child that
// its name says; more than 128 of them are in groups of 32, child slices too.
enum unitwait_code unitwait_request_spread(struct unitwait_request *request,
                                           uint32_t over);

// Scopes: whether its control group is handed over to its processes, with every controller (Delegate=).
enum unitwait_code unitwait_request_delegate(struct unitwait_request *request, bool on);

// Scopes: hands its control group over with these controllers ("memory", "pids", …; DelegateControllers=).
enum unitwait_code unitwait_request_delegate_controllers(struct unitwait_request *request,
                                                         const char *const *controllers,
                                                         size_t length);

// Scopes: when systemd forgets the unit: "inactive" or "inactive-or-failed" (CollectMode=).
enum unitwait_code unitwait_request_collect_mode(struct unitwait_request *request, const char *mode);

// Scopes: how long a stop waits after SIGTERM before it kills, in microseconds (TimeoutStopUSec=).
enum unitwait_code unitwait_request_timeout_stop(struct unitwait_request *request, uint64_t microseconds);

// Scopes: which processes a stop kills: "control-group", "mixed", "process" or "none" (KillMode=, systemd.kill(5)).
enum unitwait_code unitwait_request_kill_mode(struct unitwait_request *request,
                                              const char *mode);

// Scopes and slices: what it is, for people (Description=).
enum unitwait_code unitwait_request_description(struct unitwait_request *request, const char *text);

// Scopes and slices: whether it is ordered and stopped with the system by itself (DefaultDependencies=). Without, a
// create is quicker.
enum unitwait_code unitwait_request_default_dependencies(struct unitwait_request *request,
                                                         bool on);

// Scopes and slices: a dependency, of enum unitwait_dependency, on another unit. May be said several times.
enum unitwait_code unitwait_request_dependency(struct unitwait_request *request, int dependency, const char *unit);

// Scopes and slices: what to do where the unit exists, of enum unitwait_on_exists.
enum unitwait_code unitwait_request_on_exists(struct unitwait_request *request, int policy);

// Whether the kernel is looked at before the call succeeds: processes in their place, limits in force. On where
// nothing is said.
enum unitwait_code unitwait_request_verify(struct unitwait_request *request,
                                           bool on);

// Whether a limit that the kernel does not hold is an error, UNITWAIT_LIMIT, and a unit created for it stopped again.
// Off where nothing is said: unitwait_active_limit_gaps() tells of them then.
enum unitwait_code unitwait_request_require_limits(struct unitwait_request *request,
                                                   bool on);

// Updates: takes everything out of a list of the unit's ("DeviceAllow", "IOReadBandwidthMax", …) before what this
// update puts into it.
enum unitwait_code unitwait_request_clear(struct unitwait_request *request,
                                          const char *list);

// Updates: whether the change outlives a reboot. Off where nothing is said.
enum unitwait_code unitwait_request_persistent(struct unitwait_request *request, bool on);

// Scopes, slices and updates: any property by its name on D-Bus (org.freedesktop.systemd1(5)). The value is copied.
// One that is optional is left out where systemd does not know it: unitwait_active_left_out() tells of it.
enum unitwait_code unitwait_request_property(struct unitwait_request *request,
                                             const char *name,
                                             const struct unitwait_value *value,
                                             bool optional);

// As unitwait_request_property(), for a number of 64 bits without a sign.
enum unitwait_code unitwait_request_property_u64(struct unitwait_request *request, const char *name, uint64_t value);

// As unitwait_request_property(), for a boolean.
enum unitwait_code unitwait_request_property_bool(struct unitwait_request *request, const char *name, bool value);

// As unitwait_request_property(), for a string.
enum unitwait_code unitwait_request_property_string(struct unitwait_request *request, const char *name, const char *value);

// As unitwait_request_property(), for a list of strings.
enum unitwait_code unitwait_request_property_strings(struct unitwait_request *request,
                                                     const char *name,
                                                     const char *const *values,
                                                     size_t length);

// The most memory it may use, in bytes, from 1 (MemoryMax=). UINT64_MAX is no limit, as for all limits here.
enum unitwait_code unitwait_request_memory_max(struct unitwait_request *request, uint64_t bytes);

// Memory, in bytes, from 1, beyond which it is slowed (MemoryHigh=; cgroup v2 only).
enum unitwait_code unitwait_request_memory_high(struct unitwait_request *request, uint64_t bytes);

// Memory, in bytes, that is not reclaimed while others have some to spare (MemoryLow=; cgroup v2 only).
enum unitwait_code unitwait_request_memory_low(struct unitwait_request *request, uint64_t bytes);

// Memory, in bytes, that is never reclaimed (MemoryMin=; cgroup v2 only).
enum unitwait_code unitwait_request_memory_min(struct unitwait_request *request, uint64_t bytes);

// The most swap it may use, in bytes; 0 is none (MemorySwapMax=; cgroup v2 only).
enum unitwait_code unitwait_request_memory_swap_max(struct unitwait_request *request, uint64_t bytes);

// The most compressed swap it may use, in bytes (MemoryZSwapMax=; systemd 253, cgroup v2 only).
enum unitwait_code unitwait_request_memory_zswap_max(struct unitwait_request *request, uint64_t bytes);

// The most tasks, threads included, that it may have (TasksMax=).
enum unitwait_code unitwait_request_tasks_max(struct unitwait_request *request, uint64_t tasks);

// Its share of CPU time beside its siblings, 1 to 10000; 100 is the kernel's default (CPUWeight=).
enum unitwait_code unitwait_request_cpu_weight(struct unitwait_request *request, uint64_t weight);

// It gets CPU time only where nothing else wants it (CPUWeight=idle; systemd 252).
enum unitwait_code unitwait_request_cpu_idle(struct unitwait_request *request);

// CPU time that it may use in each second, in microseconds: 500000 is half a CPU (CPUQuotaPerSecUSec=).
enum unitwait_code unitwait_request_cpu_quota(struct unitwait_request *request, uint64_t microseconds);

// Over how long the quota is counted, in microseconds, 1000 to 1000000 (CPUQuotaPeriodUSec=).
enum unitwait_code unitwait_request_cpu_quota_period(struct unitwait_request *request, uint64_t microseconds);

// Its share of disk time beside its siblings, 1 to 10000; 100 is the kernel's default (IOWeight=).
enum unitwait_code unitwait_request_io_weight(struct unitwait_request *request, uint64_t weight);

// The CPUs that it may run on, by number (AllowedCPUs=).
enum unitwait_code unitwait_request_allowed_cpus(struct unitwait_request *request,
                                                 const uint16_t *cpus,
                                                 size_t length);

// The memory nodes that it may use, by number (AllowedMemoryNodes=).
enum unitwait_code unitwait_request_allowed_memory_nodes(struct unitwait_request *request,
                                                         const uint16_t *nodes,
                                                         size_t length);

// Its share of one disk's time, 1 to 10000 (IODeviceWeight=). The disk is a path below /dev, or of a file on it.
enum unitwait_code unitwait_request_io_device_weight(struct unitwait_request *request,
                                                     const char *device,
                                                     uint64_t weight);

// The most bytes that it may read from a disk in a second (IOReadBandwidthMax=). The disk is a path below /dev, or of a file on it.
enum unitwait_code unitwait_request_io_read_bandwidth_max(struct unitwait_request *request,
                                                          const char *device,
                                                          uint64_t bytes_per_second);

// The most bytes that it may write to a disk in a second (IOWriteBandwidthMax=). The disk is a path below /dev, or of a file on it.
enum unitwait_code unitwait_request_io_write_bandwidth_max(struct unitwait_request *request,
                                                           const char *device,
                                                           uint64_t bytes_per_second);

// The most reads from a disk in a second (IOReadIOPSMax=). The disk is a path below /dev, or of a file on it.
enum unitwait_code unitwait_request_io_read_iops_max(struct unitwait_request *request,
                                                     const char *device,
                                                     uint64_t per_second);

// The most writes to a disk in a second (IOWriteIOPSMax=). The disk is a path below /dev, or of a file on it.
enum unitwait_code unitwait_request_io_write_iops_max(struct unitwait_request *request,
                                                      const char *device,
                                                      uint64_t per_second);

// The latency of a disk that it is to have at the most, in microseconds (IODeviceLatencyTargetUSec=; cgroup v2 only). The disk is a path below /dev, or of a file on it.
enum unitwait_code unitwait_request_io_device_latency_target(struct unitwait_request *request,
                                                             const char *device,
                                                             uint64_t microseconds);

// Which devices it may use (DevicePolicy=), of enum unitwait_device_policy.
enum unitwait_code unitwait_request_device_policy(struct unitwait_request *request, int policy);

// A device that it may use, by its path or class ("/dev/null", "char-pts"), and how: "r", "w" and "m" (DeviceAllow=).
enum unitwait_code unitwait_request_device_allow(struct unitwait_request *request,
                                                 const char *device,
                                                 const char *access);

// A command: a path, or a name that is looked for in PATH, and no arguments yet. It inherits environment, directory and
// descriptors 0 to 2, unless the functions below say otherwise. Never NULL: what they refuse is refused by
// unitwait_spawn(). The caller's to free. Does not block, as none of them does.
struct unitwait_command *unitwait_command_new(const char *program);

// One more argument, after the program's name, which is there by itself.
enum unitwait_code unitwait_command_argument(struct unitwait_command *command, const char *argument);

// A variable of its environment; a NULL value takes it out.
enum unitwait_code unitwait_command_environment(struct unitwait_command *command, const char *name, const char *value);

// Takes all variables out of its environment that are in it so far, the inherited ones too.
enum unitwait_code unitwait_command_clear_environment(struct unitwait_command *command);

// The directory that it starts in.
enum unitwait_code unitwait_command_directory(struct unitwait_command *command, const char *directory);

// The user and group, by number, that it runs as.
enum unitwait_code unitwait_command_user(struct unitwait_command *command, uint32_t user, uint32_t group);

// The process group that it joins, from 0; 0 is one of its own (setpgid(2)).
enum unitwait_code unitwait_command_process_group(struct unitwait_command *command, int group);

// What its descriptor 0, 1 or 2 is: a duplicate of this one of the program's, made now, or /dev/null where it is -1.
enum unitwait_code unitwait_command_descriptor(struct unitwait_command *command,
                                               int which,
                                               int descriptor);

// Forks a command, holds it, creates the scope with it in it, verifies, and lets it execute: its first instruction runs
// inside. UNITWAIT_EXEC where it cannot be executed.
//
// Blocks until it executes, or for the timeout; nothing of it has run where this fails, and its process is gone. It is
// a child of the calling process: SIGCHLD must not be ignored, and no other part of the program may collect it, as a
// loop over waitpid(-1, …) would.
enum unitwait_code unitwait_spawn(const struct unitwait_manager *manager,
                                  const struct unitwait_command *command,
                                  const struct unitwait_request *request,
                                  int64_t timeout_ms,
                                  struct unitwait_child **child,
                                  struct unitwait_error **error);

// The process's number, 0 where it is no child's handle. Does not block.
uint32_t unitwait_child_pid(const struct unitwait_child *child);

// A descriptor that means the process and that poll(2) finds readable once it has ended (pidfd_open(2)); -1 where there
// is none. The child's own: it ends when the child's handle is freed. Does not block.
int unitwait_child_descriptor(const struct unitwait_child *child);

// A handle of the scope that it runs in, NULL where it is no child's handle. The caller's to free; does not block.
struct unitwait_active *unitwait_child_scope(const struct unitwait_child *child);

// Sends the process itself a signal; nothing where it has ended. Does not block.
enum unitwait_code unitwait_child_kill(const struct unitwait_child *child,
                                       int signal,
                                       struct unitwait_error **error);

// Waits for the end of the process and collects it; its status, as wait(2) has it, goes to `status`, which may be NULL.
// May be asked any number of times. Blocks until then, or for the timeout.
enum unitwait_code unitwait_child_wait(const struct unitwait_child *child,
                                       int64_t timeout_ms,
                                       int *status,
                                       struct unitwait_error **error);

// As unitwait_child_wait(), if it has ended; UNITWAIT_PENDING while it has not. Does not block.
enum unitwait_code unitwait_child_try_wait(const struct unitwait_child *child,
                                           int *status,
                                           struct unitwait_error **error);

// Waits for the end of everything in the child's scope, and collects the child; how it ended goes to `end`, which may
// be NULL. Blocks until then, or for the timeout.
enum unitwait_code unitwait_child_wait_all(const struct unitwait_child *child,
                                           int64_t timeout_ms,
                                           struct unitwait_ended *end,
                                           struct unitwait_error **error);

// Hands a scope, a slice or a job over, and gives its ticket at once. The timeout is the request's own. Blocks only
// while the way to the dbus thread is full, and never past the timeout.
enum unitwait_code unitwait_submit(const struct unitwait_manager *manager,
                                   const struct unitwait_request *request,
                                   int64_t timeout_ms,
                                   struct unitwait_ticket **ticket,
                                   struct unitwait_error **error);

// A descriptor that poll(2) finds readable once the answer is there, for an event loop; -1 where it is no ticket's
// handle. The ticket's own: it is not to be read or closed, stays readable until the ticket is freed, and ends then, so
// take it out of an epoll set before. Does not block.
int unitwait_ticket_descriptor(const struct unitwait_ticket *ticket);

// How far the request is; UNITWAIT_STAGE_NONE once its answer was taken. Does not block, and asks nobody.
enum unitwait_stage unitwait_ticket_stage(const struct unitwait_ticket *ticket);

// Waits for the answer: the handle of a scope or slice goes to `active`, what a job was to `job`; each may be NULL. The
// answer is given once, UNITWAIT_CLOSED from then on.
//
// Blocks until it is there, until the request's own deadline, or for this timeout, whichever is first; -1 is the
// request's own. Where this timeout comes first the request is given up, as if its own had passed.
enum unitwait_code unitwait_ticket_wait(const struct unitwait_ticket *ticket,
                                        int64_t timeout_ms,
                                        struct unitwait_active **active,
                                        struct unitwait_finished *job,
                                        struct unitwait_error **error);

// The answer if it is there, as unitwait_ticket_wait() gives it; UNITWAIT_PENDING while it is not. Does not block.
enum unitwait_code unitwait_ticket_try_wait(const struct unitwait_ticket *ticket,
                                            struct unitwait_active **active,
                                            struct unitwait_finished *job,
                                            struct unitwait_error **error);

// Creates a scope or slice, waits for its job, and sees that the kernel has the processes in it. Where the handle is
// not wanted, its place may be NULL.
//
// Blocks until then, or for the timeout. After UNITWAIT_TIMEOUT a job that is still queued is cancelled, and a scope
// that comes up late is left standing: a retry is safe, and answers UNITWAIT_UNIT_EXISTS where the first try came
// through.
enum unitwait_code unitwait_create(const struct unitwait_manager *manager,
                                   const struct unitwait_request *request,
                                   int64_t timeout_ms,
                                   struct unitwait_active **active,
                                   struct unitwait_error **error);

// Creates scopes, all of them under way at once, and waits for them: one outcome for each. Into each place of `actives`
// and of `errors`, arrays of as many as there are requests, comes a handle or NULL; either array may be NULL.
// UNITWAIT_OK where all came up, else the code of the first that did not. `error` is for what refuses the call as a
// whole: no manager, no timeout, too many requests.
//
// Blocks until the last outcome is there, or for the timeout, which is one for all. Requests that are no scopes are
// refused by themselves.
enum unitwait_code unitwait_create_scopes(const struct unitwait_manager *manager,
                                          struct unitwait_request *const *requests,
                                          size_t length,
                                          int64_t timeout_ms,
                                          struct unitwait_active **actives,
                                          struct unitwait_error **errors,
                                          struct unitwait_error **error);

// A handle to a scope or slice that is there: another process's, or one's own after a restart. Blocks until systemd has
// answered, or for the timeout.
enum unitwait_code unitwait_adopt(const struct unitwait_manager *manager,
                                  const char *unit,
                                  int64_t timeout_ms,
                                  struct unitwait_active **active,
                                  struct unitwait_error **error);

// Starts a unit by its name and waits for the job; what it was goes to `finished`, which may be NULL. Blocks until
// then, or for the timeout, after which the job goes on.
enum unitwait_code unitwait_start_unit(const struct unitwait_manager *manager,
                                       const char *unit,
                                       int64_t timeout_ms,
                                       struct unitwait_finished *finished,
                                       struct unitwait_error **error);

// Stops a unit by its name and waits until its processes are gone. Otherwise as unitwait_start_unit().
enum unitwait_code unitwait_stop_unit(const struct unitwait_manager *manager,
                                      const char *unit,
                                      int64_t timeout_ms,
                                      struct unitwait_finished *finished,
                                      struct unitwait_error **error);

// Restarts a unit by its name and waits for the job. Otherwise as unitwait_start_unit().
enum unitwait_code unitwait_restart_unit(const struct unitwait_manager *manager,
                                         const char *unit,
                                         int64_t timeout_ms,
                                         struct unitwait_finished *finished,
                                         struct unitwait_error **error);

// Sends a signal to a unit's processes, of enum unitwait_whom; they may still run when it returns. Blocks until systemd
// has sent it, or for the timeout. A retry sends it again.
enum unitwait_code unitwait_kill_unit(const struct unitwait_manager *manager,
                                      const char *unit,
                                      int whom,
                                      int signal,
                                      int64_t timeout_ms,
                                      struct unitwait_error **error);

// Forgets that a unit failed, so that its name is free. Blocks until systemd has answered, or for the timeout.
enum unitwait_code unitwait_reset_failed(const struct unitwait_manager *manager,
                                         const char *unit,
                                         int64_t timeout_ms,
                                         struct unitwait_error **error);

// Freezes a unit's processes, and waits until the kernel says so. Blocks until then, or for the timeout.
enum unitwait_code unitwait_freeze_unit(const struct unitwait_manager *manager,
                                        const char *unit,
                                        int64_t timeout_ms,
                                        struct unitwait_error **error);

// Thaws a unit's processes. As unitwait_freeze_unit().
enum unitwait_code unitwait_thaw_unit(const struct unitwait_manager *manager,
                                      const char *unit,
                                      int64_t timeout_ms,
                                      struct unitwait_error **error);

// Changes a living unit by an update (a slice that is not there, as systemd has it, gets what is set when it comes up).
// The limits that the kernel does not hold go to `gaps`, as unitwait_active_limit_gaps() lists them, and the optional
// properties that systemd does not know to `left_out`; each may be NULL. Blocks until the kernel was looked at, or for
// the timeout.
enum unitwait_code unitwait_set_unit(const struct unitwait_manager *manager,
                                     const char *unit,
                                     const struct unitwait_request *request,
                                     int64_t timeout_ms,
                                     struct unitwait_list **gaps,
                                     struct unitwait_list **left_out,
                                     struct unitwait_error **error);

// Reads one property of a unit (org.freedesktop.systemd1(5)). A unit that is not loaded answers too, as inactive. Blocks
// until systemd has answered, or for the timeout.
enum unitwait_code unitwait_property(const struct unitwait_manager *manager,
                                     const char *unit,
                                     const char *property,
                                     int64_t timeout_ms,
                                     struct unitwait_value **value,
                                     struct unitwait_error **error);

// Reads all properties of a unit: a row for each, with UNITWAIT_FIELD_PROPERTY and UNITWAIT_FIELD_VALUE. Otherwise as
// unitwait_property().
enum unitwait_code unitwait_properties(const struct unitwait_manager *manager,
                                       const char *unit,
                                       int64_t timeout_ms,
                                       struct unitwait_list **properties,
                                       struct unitwait_error **error);

// Cancels a job by its number; UNITWAIT_NO_SUCH_JOB where it is over. Blocks until systemd has answered, or for the
// timeout.
enum unitwait_code unitwait_cancel_job(const struct unitwait_manager *manager,
                                       uint32_t job,
                                       int64_t timeout_ms,
                                       struct unitwait_error **error);

// Lists the loaded units that are in one of the states ("active", "running", …) and whose names match one of the shell
// patterns; no states and no patterns mean all. A row for each, with UNITWAIT_FIELD_UNIT, _DESCRIPTION, _LOAD_STATE,
// _ACTIVE_STATE, _SUB_STATE and _OBJECT_PATH. Blocks until systemd has answered, or for the timeout.
enum unitwait_code unitwait_list_units(const struct unitwait_manager *manager,
                                       const char *const *states,
                                       size_t states_length,
                                       const char *const *patterns,
                                       size_t patterns_length,
                                       int64_t timeout_ms,
                                       struct unitwait_list **units,
                                       struct unitwait_error **error);

// Lists the loaded units in a slice and in the slices below it, those that it was spread over among them, as
// unitwait_list_units() does. Blocks until systemd has answered, or for the timeout.
enum unitwait_code unitwait_list_slice(const struct unitwait_manager *manager,
                                       const char *slice,
                                       int64_t timeout_ms,
                                       struct unitwait_list **units,
                                       struct unitwait_error **error);

// The unit that a process is in, as a list of one row with UNITWAIT_FIELD_UNIT. Blocks until systemd has answered, or
// for the timeout.
enum unitwait_code unitwait_unit_of_process(const struct unitwait_manager *manager,
                                            uint32_t pid,
                                            int64_t timeout_ms,
                                            struct unitwait_list **unit,
                                            struct unitwait_error **error);

// Compares what a unit's properties ask for with what the kernel holds: a row for each finding, with
// UNITWAIT_FIELD_MESSAGE, UNITWAIT_FIELD_KIND, and the fields of the process or limit that it is about; no rows where
// all is as it should be. Blocks until systemd has answered, or for the timeout.
enum unitwait_code unitwait_audit_unit(const struct unitwait_manager *manager,
                                       const char *unit,
                                       int64_t timeout_ms,
                                       struct unitwait_list **findings,
                                       struct unitwait_error **error);

// A boolean (`b`). The caller's to free, as every value is; does not block, as none of these functions does.
struct unitwait_value *unitwait_value_bool(bool value);

// A byte (`y`).
struct unitwait_value *unitwait_value_byte(uint8_t value);

// A number of 16 bits (`n`).
struct unitwait_value *unitwait_value_i16(int16_t value);

// A number of 16 bits without a sign (`q`).
struct unitwait_value *unitwait_value_u16(uint16_t value);

// A number of 32 bits (`i`).
struct unitwait_value *unitwait_value_i32(int32_t value);

// A number of 32 bits without a sign (`u`).
struct unitwait_value *unitwait_value_u32(uint32_t value);

// A number of 64 bits (`x`).
struct unitwait_value *unitwait_value_i64(int64_t value);

// A number of 64 bits without a sign (`t`).
struct unitwait_value *unitwait_value_u64(uint64_t value);

// A floating-point number (`d`).
struct unitwait_value *unitwait_value_double(double value);

// A string (`s`); NULL where the text is NULL or not UTF-8.
struct unitwait_value *unitwait_value_string(const char *text);

// An object path (`o`); NULL as unitwait_value_string().
struct unitwait_value *unitwait_value_path(const char *text);

// A signature (`g`); NULL as unitwait_value_string().
struct unitwait_value *unitwait_value_signature(const char *text);

// An empty array of elements of this signature (`a…`), to be filled with unitwait_value_append(); NULL as
// unitwait_value_string().
struct unitwait_value *unitwait_value_array(const char *element);

// A structure (`(…)`) with no fields yet, to be filled with unitwait_value_append().
struct unitwait_value *unitwait_value_struct(void);

// A key and a value for an array that is a dictionary (`{…}`); NULL where one of them is no value's handle, or nests
// too deeply. Both are copied.
struct unitwait_value *unitwait_value_entry(const struct unitwait_value *key,
                                            const struct unitwait_value *value);

// A value in a variant (`v`); NULL where it is no value's handle, or nests too deeply. The value is copied.
struct unitwait_value *unitwait_value_variant(const struct unitwait_value *value);

// Puts a copy of an item at the end of an array or structure. UNITWAIT_INVALID_INPUT where the first is neither, or was
// read already. Whether the items fit is looked at when the property is sent.
enum unitwait_code unitwait_value_append(struct unitwait_value *to,
                                         const struct unitwait_value *item,
                                         struct unitwait_error **error);

// The signature of a value, NULL where it is no value's handle. The value's own.
const char *unitwait_value_type(const struct unitwait_value *value);

// Any value as people read it ("infinity", "yes", items with spaces between), NULL where it is no value's handle. The
// value's own.
const char *unitwait_value_text(const struct unitwait_value *value);

// The text of a string, object path or signature, NULL where it is none. The value's own.
const char *unitwait_value_as_string(const struct unitwait_value *value);

// The number of an unsigned integer of any width. False, and 0 in its place, where it is none.
bool unitwait_value_as_u64(const struct unitwait_value *value, uint64_t *number);

// The number of a signed integer of any width. False, and 0 in its place, where it is none.
bool unitwait_value_as_i64(const struct unitwait_value *value, int64_t *number);

// The floating-point number. False, and 0 in its place, where it is none.
bool unitwait_value_as_double(const struct unitwait_value *value, double *number);

// The truth of a boolean. False, and false in its place, where it is none.
bool unitwait_value_as_bool(const struct unitwait_value *value, bool *truth);

// How many items an array or structure has, 2 for a dictionary's entry, 1 for a variant, 0 for any other.
size_t unitwait_value_length(const struct unitwait_value *value);

// A copy of one of the items that unitwait_value_length() counts, from 0; NULL where there is no such item. The
// caller's to free.
struct unitwait_value *unitwait_value_item(const struct unitwait_value *value,
                                           size_t at);

// Watches the units whose names match one of the shell patterns; all where there are none. What happens from then on is
// told: list the units after this, and nothing falls between. Blocks until systemd has agreed to tell, or for the
// timeout. While any watch is there, systemd tells of every unit's changes, which costs it time on a busy host.
enum unitwait_code unitwait_watch_units(const struct unitwait_manager *manager,
                                        const char *const *patterns,
                                        size_t length,
                                        int64_t timeout_ms,
                                        struct unitwait_watch **watch,
                                        struct unitwait_error **error);

// The next event, as a list of one row: UNITWAIT_FIELD_KIND (enum unitwait_event), and UNITWAIT_FIELD_UNIT,
// _ACTIVE_STATE and _SUB_STATE where there are any. Each event goes to one of the threads that ask. Blocks until it
// comes, or for the timeout: UNITWAIT_TIMEOUT.
enum unitwait_code unitwait_watch_next(const struct unitwait_watch *watch,
                                       int64_t timeout_ms,
                                       struct unitwait_list **event,
                                       struct unitwait_error **error);

// A descriptor that poll(2) finds readable while events are there, for an event loop; -1 where it is no watch's handle.
// The watch's own: it is not to be read or closed, and ends when the watch is freed. Does not block.
int unitwait_watch_descriptor(const struct unitwait_watch *watch);

// How many events there was no room for since the watch began: it keeps 1,024 that were not read. 0 where it is no
// watch's handle. Does not block.
uint64_t unitwait_watch_dropped(const struct unitwait_watch *watch);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* UNITWAIT_H */

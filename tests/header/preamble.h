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

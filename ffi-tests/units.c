/* Scopes and slices in a real systemd: created, read, changed, frozen, audited, attached to, adopted and stopped. */
#include "check.h"

static unitwait_manager *manager;

static int is_hybrid(void) { return same(unitwait_manager_cgroup_mode(manager), "hybrid"); }

static void a_manager_says_what_it_is(void) {
    unitwait_list *controllers = unitwait_manager_controllers(manager);
    unitwait_stats stats;
    CHECK(atoi(unitwait_manager_version(manager)) > 0);
    CHECK(strncmp(unitwait_manager_address(manager), "unix:", 5) == 0);
    CHECK(same(unitwait_manager_cgroup_mode(manager), getenv("UNITWAIT_SANDBOX_CGROUP")));
    if (is_hybrid()) CHECK(unitwait_list_length(controllers) > 0);
    if (is_hybrid()) CHECK(unitwait_list_text(controllers, 0, UNITWAIT_FIELD_CONTROLLER) != NULL);
    GOES_WELL(unitwait_manager_stats(manager, &stats, &error));
    CHECK(stats.connections == 1 && stats.succeeded >= 2 && stats.window > 0);
    done(controllers);
}

static void a_scope_is_created_read_and_stopped(void) {
    char name[64], group[128];
    pid_t pid = sleeper();
    unitwait_request *request = unitwait_scope_new(scope_name(name, sizeof name, "life"));
    unitwait_active *active = NULL;
    unitwait_list *list = NULL;
    unitwait_value *value = NULL;
    unitwait_finished job;
    uint64_t number = 0;
    size_t at, found = 0;

    unitwait_request_pid(request, pid);
    unitwait_request_slice(request, "ffi.slice");
    unitwait_request_tasks_max(request, 20);
    unitwait_request_memory_max(request, 64 << 20);
    unitwait_request_description(request, "ein Auftrag: \xc3\xa4");
    GOES_WELL(unitwait_create(manager, request, LONG_MS, &active, &error));

    snprintf(group, sizeof group, "/ffi.slice/%s", name);
    CHECK(same(unitwait_active_unit(active), name) && strstr(unitwait_active_control_group(active), group));
    CHECK(is_in(pid, group) && access(unitwait_active_path(active), F_OK) == 0);
    CHECK(strlen(unitwait_active_invocation_id(active)) == 32);
    CHECK(unitwait_active_outcome(active) == UNITWAIT_CREATED);
    CHECK(unitwait_active_job(active, &job) && job.job > 0 && job.times.accepted_us > 0);
    CHECK((unitwait_active_controller_path(active, "pids") != NULL) == is_hybrid());
    CHECK(unitwait_active_controller_path(active, "pids") == unitwait_active_controller_path(active, "pids"));
    CHECK(unitwait_active_controller_path(active, "no such") == NULL);

    /* What the kernel does not hold is listed, and in hybrid mode it holds both. */
    list = unitwait_active_limit_gaps(active);
    CHECK(unitwait_list_length(list) == (is_hybrid() ? 0u : 2u));
    for (at = 0; at < unitwait_list_length(list); at++) {
        CHECK(number_of(list, at, UNITWAIT_FIELD_REASON) == UNITWAIT_GAP_NO_CONTROLLER);
        CHECK(unitwait_list_text(list, at, UNITWAIT_FIELD_MESSAGE) != NULL);
        found += same(unitwait_list_text(list, at, UNITWAIT_FIELD_PROPERTY), "TasksMax");
    }
    CHECK(found == (is_hybrid() ? 0u : 1u));
    CHECK(unitwait_list_text(list, 2, UNITWAIT_FIELD_MESSAGE) == NULL && unitwait_list_value(list, 0) == NULL);
    CHECK(unitwait_list_text(list, 0, -1) == NULL && unitwait_list_text(list, 0, 1000) == NULL);
    done(list), list = unitwait_active_left_out(active);
    CHECK(unitwait_list_length(list) == 0);
    done(list);

    GOES_WELL(unitwait_property(manager, name, "TasksMax", LONG_MS, &value, &error));
    CHECK(unitwait_value_as_u64(value, &number) && number == 20 && same(unitwait_value_text(value), "20"));
    done(value);
    GOES_WELL(unitwait_active_property(active, "Description", LONG_MS, &value, &error));
    CHECK(same(unitwait_value_as_string(value), "ein Auftrag: \xc3\xa4"));
    done(value);
    FAILS(UNITWAIT_UNKNOWN_PROPERTY, unitwait_property(manager, name, "NoSuchThing", LONG_MS, &value, &error));
    CHECK(value == NULL);

    GOES_WELL(unitwait_properties(manager, name, LONG_MS, &list, &error));
    for (at = 0, found = 0; at < unitwait_list_length(list); at++)
        if (same(unitwait_list_text(list, at, UNITWAIT_FIELD_PROPERTY), "ActiveState")) {
            value = unitwait_list_value(list, at);
            CHECK(same(unitwait_list_text(list, at, UNITWAIT_FIELD_VALUE), "active"));
            CHECK(same(unitwait_value_as_string(value), "active"));
            done(value), found++;
        }
    CHECK(found == 1);
    done(list);
    GOES_WELL(unitwait_active_properties(active, LONG_MS, &list, &error));
    CHECK(unitwait_list_length(list) > 100);
    done(list);

    GOES_WELL(unitwait_active_processes(active, &list, &error));
    CHECK(unitwait_list_length(list) == 1 && number_of(list, 0, UNITWAIT_FIELD_PID) == (uint64_t)pid);
    done(list);
    GOES_WELL(unitwait_unit_of_process(manager, (uint32_t)pid, LONG_MS, &list, &error));
    CHECK(same(unitwait_list_text(list, 0, UNITWAIT_FIELD_UNIT), name));
    done(list);

    GOES_WELL(unitwait_active_kill(active, UNITWAIT_KILL_ALL, SIGWINCH, LONG_MS, &error));
    GOES_WELL(unitwait_kill_unit(manager, name, UNITWAIT_KILL_ALL, SIGWINCH, LONG_MS, &error));
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_kill_unit(manager, name, 9, SIGWINCH, LONG_MS, &error));
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_active_kill(active, UNITWAIT_KILL_ALL, 1000, LONG_MS, &error));
    CHECK(lives(pid));

    GOES_WELL(unitwait_active_stop(active, LONG_MS, &job, &error));
    CHECK(job.job > 0 && !lives(pid));
    FAILS(UNITWAIT_NO_SUCH_UNIT, unitwait_active_stop(active, LONG_MS, NULL, &error));
    done(active), done(request);
}

static void a_run_is_changed_audited_and_frozen(void) {
    char name[64];
    pid_t pid = sleeper();
    unitwait_active *active = created(manager, scope_name(name, sizeof name, "change"), pid);
    unitwait_request *update = unitwait_update_new();
    unitwait_value *unknown = unitwait_value_u64(1), *value = NULL;
    unitwait_list *gaps = NULL, *left_out = NULL, *findings = NULL;
    unitwait_ended end;
    uint64_t number = 0;
    size_t at;

    unitwait_request_tasks_max(update, 30);
    unitwait_request_property(update, "FutureMax", unknown, true);
    GOES_WELL(unitwait_active_set(active, update, LONG_MS, &gaps, &left_out, &error));
    CHECK(unitwait_list_length(gaps) == (is_hybrid() ? 0u : 1u));
    CHECK(same(unitwait_list_text(left_out, 0, UNITWAIT_FIELD_PROPERTY), "FutureMax"));
    done(gaps), done(left_out);
    GOES_WELL(unitwait_set_unit(manager, name, update, LONG_MS, NULL, NULL, &error));
    GOES_WELL(unitwait_active_property(active, "TasksMax", LONG_MS, &value, &error));
    CHECK(unitwait_value_as_u64(value, &number) && number == 30);
    done(value);

    GOES_WELL(unitwait_active_audit(active, LONG_MS, &findings, &error));
    CHECK(unitwait_list_length(findings) == (is_hybrid() ? 0u : 1u));
    for (at = 0; at < unitwait_list_length(findings); at++)
        CHECK(number_of(findings, at, UNITWAIT_FIELD_KIND) == UNITWAIT_FINDING_NOT_HELD);
    done(findings);
    GOES_WELL(unitwait_audit_unit(manager, name, LONG_MS, &findings, &error));
    done(findings);

    if (is_hybrid()) {
        FAILS(UNITWAIT_UNSUPPORTED, unitwait_active_freeze(active, LONG_MS, &error));
        FAILS(UNITWAIT_UNSUPPORTED, unitwait_freeze_unit(manager, name, LONG_MS, &error));
    } else {
        GOES_WELL(unitwait_active_freeze(active, LONG_MS, &error));
        GOES_WELL(unitwait_active_thaw(active, LONG_MS, &error));
        GOES_WELL(unitwait_freeze_unit(manager, name, LONG_MS, &error));
        GOES_WELL(unitwait_thaw_unit(manager, name, LONG_MS, &error));
    }
    GOES_WELL(unitwait_active_kill_all(active, LONG_MS, &error));
    GOES_WELL(unitwait_active_wait_empty(active, LONG_MS, &error));
    GOES_WELL(unitwait_active_wait(active, LONG_MS, &end, &error));
    CHECK(end.ending != UNITWAIT_ENDED_STOPPED && end.status == -1 && !lives(pid));
    GOES_WELL(unitwait_active_audit(active, LONG_MS, &findings, &error));
    CHECK(number_of(findings, 0, UNITWAIT_FIELD_KIND) == UNITWAIT_FINDING_GONE);
    done(findings), done(active), done(update), done(unknown);
}

static void limits_that_are_required_and_not_held_are_an_error_with_details(void) {
    char name[64];
    pid_t pid = sleeper();
    unitwait_request *request = unitwait_scope_new(scope_name(name, sizeof name, "require"));
    unitwait_error *error = NULL;
    unitwait_list *gaps;
    unitwait_request_pid(request, pid);
    unitwait_request_property_u64(request, "MemoryLow", 1 << 20);
    unitwait_request_require_limits(request, true);
    CHECK(unitwait_create(manager, request, LONG_MS, NULL, &error) == UNITWAIT_LIMIT);
    gaps = unitwait_error_details(error);
    CHECK(unitwait_list_length(gaps) == 1 && same(unitwait_error_unit(error), name));
    CHECK(same(unitwait_list_text(gaps, 0, UNITWAIT_FIELD_PROPERTY), "MemoryLow"));
    CHECK(same(unitwait_error_operation(error), "create scope"));
    done(gaps), done(error), done(request), reap(pid);
}

static void a_slice_joins_adopts_and_attaches(void) {
    char name[64];
    pid_t first = sleeper(), second = sleeper(), third = sleeper();
    uint32_t joining = (uint32_t)third;
    unitwait_request *slice = unitwait_slice_new("ffi-some.slice");
    unitwait_request *scope = unitwait_scope_new(scope_name(name, sizeof name, "join"));
    unitwait_request *more = unitwait_scope_new(name);
    unitwait_active *standing = NULL, *active = NULL, *joined = NULL, *adopted = NULL;
    const char *states[] = {"active"}, *patterns[] = {name};
    unitwait_list *units = NULL;

    unitwait_request_on_exists(slice, UNITWAIT_EXISTS_ACCEPT);
    GOES_WELL(unitwait_create(manager, slice, LONG_MS, &standing, &error));
    unitwait_request_slice(scope, "ffi-some.slice");
    unitwait_request_pid(scope, first);
    unitwait_request_delegate(scope, true);
    GOES_WELL(unitwait_create(manager, scope, LONG_MS, &active, &error));
    unitwait_request_pid(more, second);
    unitwait_request_on_exists(more, UNITWAIT_EXISTS_JOIN);
    GOES_WELL(unitwait_create(manager, more, LONG_MS, &joined, &error));
    CHECK(unitwait_active_outcome(joined) == UNITWAIT_JOINED && is_in(second, name));

    GOES_WELL(unitwait_active_attach(active, NULL, &joining, 1, LONG_MS, &error));
    CHECK(is_in(third, name));
    FAILS(UNITWAIT_NO_SUCH_CONTROL_GROUP, unitwait_active_attach(active, "none", &joining, 1, LONG_MS, &error));
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_active_attach(active, "..", &joining, 1, LONG_MS, &error));
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_active_attach(standing, NULL, &joining, 1, LONG_MS, &error));

    GOES_WELL(unitwait_adopt(manager, name, LONG_MS, &adopted, &error));
    CHECK(unitwait_active_outcome(adopted) == UNITWAIT_ADOPTED);
    CHECK(same(unitwait_active_invocation_id(adopted), unitwait_active_invocation_id(active)));
    done(adopted);
    GOES_WELL(unitwait_adopt(manager, "ffi-some.slice", LONG_MS, &adopted, &error));
    GOES_WELL(unitwait_list_units(manager, states, 1, patterns, 1, LONG_MS, &units, &error));
    CHECK(unitwait_list_length(units) == 1 && same(unitwait_list_text(units, 0, UNITWAIT_FIELD_UNIT), name));
    CHECK(same(unitwait_list_text(units, 0, UNITWAIT_FIELD_ACTIVE_STATE), "active"));
    done(units);

    GOES_WELL(unitwait_stop_unit(manager, name, LONG_MS, NULL, &error));
    GOES_WELL(unitwait_active_stop(adopted, LONG_MS, NULL, &error));
    done(adopted);
    FAILS(UNITWAIT_NO_SUCH_UNIT, unitwait_adopt(manager, name, LONG_MS, &adopted, &error));
    done(standing), done(active), done(joined), done(slice), done(scope), done(more);
    CHECK(adopted == NULL);
    reap(first), reap(second), reap(third);
}

static void a_slice_that_is_spread_is_listed_with_all_that_is_in_it(void) {
    char name[64];
    pid_t pid = sleeper();
    unitwait_request *scope = unitwait_scope_new(scope_name(name, sizeof name, "spread"));
    unitwait_active *active = NULL;
    unitwait_list *units = NULL;
    size_t at, found = 0;
    unitwait_request_pid(scope, pid);
    unitwait_request_slice(scope, "ffi-spread.slice");
    CHECK(unitwait_request_spread(scope, 7) == UNITWAIT_OK);
    GOES_WELL(unitwait_create(manager, scope, LONG_MS, &active, &error));
    CHECK(unitwait_active_spread(active) == 7 && unitwait_active_spread(NULL) == 0);
    CHECK(strstr(unitwait_active_control_group(active), "/ffi-spread.slice/ffi-spread-spread"));
    GOES_WELL(unitwait_list_slice(manager, "ffi-spread.slice", LONG_MS, &units, &error));
    for (at = 0; at < unitwait_list_length(units); at++)
        found += same(unitwait_list_text(units, at, UNITWAIT_FIELD_UNIT), name);
    CHECK(found == 1);
    done(units);
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_list_slice(manager, "no.scope", LONG_MS, &units, &error));
    GOES_WELL(unitwait_active_stop(active, LONG_MS, NULL, &error));
    done(scope), done(active), reap(pid);
}

static void units_are_started_restarted_and_reset_by_their_names(void) {
    unitwait_finished job = {0, {0, 0, 0, 0}};
    GOES_WELL(unitwait_start_unit(manager, "ffi-named.slice", LONG_MS, &job, &error));
    CHECK(job.job > 0);
    GOES_WELL(unitwait_restart_unit(manager, "ffi-named.slice", LONG_MS, &job, &error));
    GOES_WELL(unitwait_stop_unit(manager, "ffi-named.slice", LONG_MS, &job, &error));
    FAILS(UNITWAIT_NO_SUCH_UNIT, unitwait_start_unit(manager, "ffi-none.service", LONG_MS, &job, &error));
    FAILS(UNITWAIT_NO_SUCH_UNIT, unitwait_reset_failed(manager, "ffi-none.service", LONG_MS, &error));
    FAILS(UNITWAIT_NO_SUCH_JOB, unitwait_cancel_job(manager, UINT32_MAX, LONG_MS, &error));
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_start_unit(manager, "no name", LONG_MS, &job, &error));
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_start_unit(manager, "\xff.service", LONG_MS, &job, &error));
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_start_unit(manager, NULL, LONG_MS, &job, &error));
}

static void a_batch_has_one_outcome_for_each(void) {
    enum { COUNT = 20 };
    char names[COUNT][64];
    pid_t pids[COUNT];
    unitwait_request *requests[COUNT];
    unitwait_active *actives[COUNT];
    unitwait_error *errors[COUNT], *whole = NULL;
    unitwait_code code;
    int at;
    for (at = 0; at < COUNT; at++) {
        pids[at] = sleeper();
        requests[at] = at == 7 ? unitwait_slice_new("ffi.slice")
                               : unitwait_scope_new(scope_name(names[at], sizeof names[at], "batch"));
        if (at != 7) unitwait_request_pid(requests[at], at == 11 ? 0x7ffffff0 : pids[at]);
    }
    code = unitwait_create_scopes(manager, requests, COUNT, LONG_MS, actives, errors, &whole);
    CHECK(code == UNITWAIT_INVALID_INPUT && whole == NULL);
    for (at = 0; at < COUNT; at++) {
        if (at == 7 || at == 11) {
            CHECK(actives[at] == NULL);
            CHECK(unitwait_error_code(errors[at]) == (at == 7 ? UNITWAIT_INVALID_INPUT : UNITWAIT_NO_SUCH_PROCESS));
            done(errors[at]);
        } else {
            CHECK(errors[at] == NULL && is_in(pids[at], names[at]));
            GOES_WELL(unitwait_active_stop(actives[at], LONG_MS, NULL, &error));
            done(actives[at]);
        }
        done(requests[at]), reap(pids[at]);
    }
    FAILS(UNITWAIT_INVALID_INPUT,
          unitwait_create_scopes(manager, requests, SIZE_MAX, LONG_MS, actives, errors, &error));
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_create_scopes(NULL, requests, 1, LONG_MS, actives, errors, &error));
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_create_scopes(manager, NULL, 1, LONG_MS, NULL, NULL, &error));
}

static void reads(const char *unit, const char *property, const char *expected) {
    unitwait_value *value = NULL;
    GOES_WELL(unitwait_property(manager, unit, property, LONG_MS, &value, &error));
    if (!same(unitwait_value_text(value), expected)) {
        fprintf(stderr, "%s: %s is %s and not %s\n", unit, property, unitwait_value_text(value), expected);
        exit(1);
    }
    done(value);
}

static int mentions(const char *unit, const char *property, const char *word) {
    unitwait_value *value = NULL;
    int found;
    GOES_WELL(unitwait_property(manager, unit, property, LONG_MS, &value, &error));
    found = strstr(unitwait_value_text(value), word) != NULL;
    done(value);
    return found;
}

/* systemd keeps what is set, whatever controllers there are: each setter is seen to set what it says, and that alone. */
static void every_setter_sets_the_property_that_it_says(void) {
    char name[64];
    const uint16_t cpus[] = {0, 3}, nodes[] = {1};
    const char *controllers[] = {"memory"}, *pages[] = {"man:unitwait(1)"};
    pid_t pid = sleeper();
    unitwait_request *of = unitwait_scope_new(scope_name(name, sizeof name, "setters"));
    unitwait_request *update = unitwait_update_new();
    unitwait_active *active = NULL;
    unitwait_request_pid(of, pid);
    unitwait_request_slice(of, "ffi.slice");
    unitwait_request_memory_max(of, 64 << 20), unitwait_request_memory_high(of, 63 << 20);
    unitwait_request_memory_low(of, 3 << 20), unitwait_request_memory_min(of, 2 << 20);
    unitwait_request_memory_swap_max(of, 1 << 20), unitwait_request_tasks_max(of, 77);
    unitwait_request_cpu_weight(of, 201), unitwait_request_io_weight(of, 301);
    unitwait_request_cpu_quota(of, 500000), unitwait_request_cpu_quota_period(of, 50000);
    unitwait_request_allowed_cpus(of, cpus, 2), unitwait_request_allowed_memory_nodes(of, nodes, 1);
    unitwait_request_io_device_weight(of, "/dev/null", 101);
    unitwait_request_io_read_bandwidth_max(of, "/dev/null", 1001);
    unitwait_request_io_write_bandwidth_max(of, "/dev/null", 1002);
    unitwait_request_io_read_iops_max(of, "/dev/null", 1003);
    unitwait_request_io_write_iops_max(of, "/dev/null", 1004);
    unitwait_request_io_device_latency_target(of, "/dev/null", 1005);
    unitwait_request_device_policy(of, UNITWAIT_DEVICES_CLOSED);
    unitwait_request_device_allow(of, "/dev/full", "rw");
    unitwait_request_delegate_controllers(of, controllers, 1);
    unitwait_request_collect_mode(of, "inactive-or-failed");
    unitwait_request_timeout_stop(of, 4000000), unitwait_request_kill_mode(of, "mixed");
    unitwait_request_description(of, "said"), unitwait_request_default_dependencies(of, false);
    unitwait_request_dependency(of, UNITWAIT_AFTER, "ffi-after.target");
    unitwait_request_dependency(of, UNITWAIT_BEFORE, "ffi-before.target");
    unitwait_request_dependency(of, UNITWAIT_WANTS, "ffi-wants.target");
    unitwait_request_dependency(of, UNITWAIT_PART_OF, "ffi-part.target");
    unitwait_request_dependency(of, UNITWAIT_REQUIRES, "ffi.slice");
    unitwait_request_dependency(of, UNITWAIT_BINDS_TO, "init.scope");
    unitwait_request_property_strings(of, "Documentation", pages, 1);
    GOES_WELL(unitwait_create(manager, of, LONG_MS, &active, &error));

    reads(name, "Slice", "ffi.slice");
    reads(name, "MemoryMax", "67108864"), reads(name, "MemoryHigh", "66060288");
    reads(name, "MemoryLow", "3145728"), reads(name, "MemoryMin", "2097152");
    reads(name, "MemorySwapMax", "1048576"), reads(name, "TasksMax", "77");
    reads(name, "CPUWeight", "201"), reads(name, "IOWeight", "301");
    reads(name, "CPUQuotaPerSecUSec", "500000"), reads(name, "CPUQuotaPeriodUSec", "50000");
    CHECK(mentions(name, "AllowedCPUs", "09") && mentions(name, "AllowedMemoryNodes", "02"));
    reads(name, "IODeviceWeight", "/dev/null 101");
    reads(name, "IOReadBandwidthMax", "/dev/null 1001"), reads(name, "IOWriteBandwidthMax", "/dev/null 1002");
    reads(name, "IOReadIOPSMax", "/dev/null 1003"), reads(name, "IOWriteIOPSMax", "/dev/null 1004");
    reads(name, "IODeviceLatencyTargetUSec", "/dev/null 1005");
    reads(name, "DevicePolicy", "closed"), reads(name, "DeviceAllow", "/dev/full rw");
    reads(name, "DelegateControllers", "memory"), reads(name, "CollectMode", "inactive-or-failed");
    reads(name, "TimeoutStopUSec", "4000000"), reads(name, "KillMode", "mixed");
    reads(name, "Description", "said"), reads(name, "DefaultDependencies", "no");
    CHECK(mentions(name, "After", "ffi-after.target") && mentions(name, "Before", "ffi-before.target"));
    CHECK(mentions(name, "Wants", "ffi-wants.target") && mentions(name, "PartOf", "ffi-part.target"));
    CHECK(mentions(name, "Requires", "ffi.slice") && mentions(name, "BindsTo", "init.scope"));
    reads(name, "Documentation", "man:unitwait(1)");

    unitwait_request_cpu_idle(update), unitwait_request_property_bool(update, "MemoryAccounting", false);
    unitwait_request_property_u64(update, "IOWeight", 302), unitwait_request_clear(update, "DeviceAllow");
    GOES_WELL(unitwait_active_set(active, update, LONG_MS, NULL, NULL, &error));
    reads(name, "CPUWeight", "0"), reads(name, "MemoryAccounting", "no"), reads(name, "IOWeight", "302");
    reads(name, "DeviceAllow", "");

    /* Of a slice that came up by itself, persistence is seen in where systemd keeps what is set. */
    GOES_WELL(unitwait_start_unit(manager, "ffi-setters.slice", LONG_MS, NULL, &error));
    done(update), update = unitwait_update_new();
    unitwait_request_tasks_max(update, 5), unitwait_request_persistent(update, true);
    GOES_WELL(unitwait_set_unit(manager, "ffi-setters.slice", update, LONG_MS, NULL, NULL, &error));
    CHECK(access("/etc/systemd/system.control/ffi-setters.slice.d/50-TasksMax.conf", F_OK) == 0);
    GOES_WELL(unitwait_stop_unit(manager, "ffi-setters.slice", LONG_MS, NULL, &error));
    GOES_WELL(unitwait_active_stop(active, LONG_MS, NULL, &error));
    done(update), done(of), done(active), reap(pid);
}

static void a_name_that_is_taken_is_replaced_and_a_unit_restarted_as_it_is_asked(void) {
    char name[64], before[40], after[40];
    pid_t first = sleeper(), second = sleeper();
    unitwait_active *old = created(manager, scope_name(name, sizeof name, "replace"), first), *anew = NULL;
    unitwait_request *of = unitwait_scope_new(name);
    unitwait_request *restart = unitwait_job_new(UNITWAIT_RESTART, "ffi-again.slice", UNITWAIT_MODE_FAIL);
    unitwait_ticket *ticket = NULL;
    unitwait_value *run = NULL;
    unitwait_request_pid(of, second);
    unitwait_request_on_exists(of, UNITWAIT_EXISTS_REPLACE);
    GOES_WELL(unitwait_create(manager, of, LONG_MS, &anew, &error));
    CHECK(unitwait_active_outcome(anew) == UNITWAIT_REPLACED && !lives(first) && is_in(second, name));
    FAILS(UNITWAIT_SUPERSEDED, unitwait_active_stop(old, LONG_MS, NULL, &error));
    FAILS(UNITWAIT_NO_SUCH_PROCESS, unitwait_active_kill(anew, UNITWAIT_KILL_MAIN, SIGWINCH, LONG_MS, &error));
    GOES_WELL(unitwait_active_stop(anew, LONG_MS, NULL, &error));

    GOES_WELL(unitwait_start_unit(manager, "ffi-again.slice", LONG_MS, NULL, &error));
    GOES_WELL(unitwait_property(manager, "ffi-again.slice", "InvocationID", LONG_MS, &run, &error));
    snprintf(before, sizeof before, "%s", unitwait_value_text(run));
    done(run);
    GOES_WELL(unitwait_submit(manager, restart, LONG_MS, &ticket, &error));
    GOES_WELL(unitwait_ticket_wait(ticket, -1, NULL, NULL, &error));
    GOES_WELL(unitwait_property(manager, "ffi-again.slice", "InvocationID", LONG_MS, &run, &error));
    snprintf(after, sizeof after, "%s", unitwait_value_text(run));
    CHECK(strlen(before) == 32 && strcmp(before, after) != 0);
    GOES_WELL(unitwait_stop_unit(manager, "ffi-again.slice", LONG_MS, NULL, &error));
    done(run), done(ticket), done(restart), done(of), done(old), done(anew), reap(second);
}

static void a_lazy_manager_has_met_systemd_with_its_first_request(void) {
    unitwait_builder *builder = unitwait_builder_new(UNITWAIT_ABI, UNITWAIT_SYSTEM_BUS);
    CHECK(unitwait_builder_lazy(builder, true) == UNITWAIT_OK);
    GOES_WELL(unitwait_builder_open(builder, LONG_MS, &manager, &error));
    a_scope_is_created_read_and_stopped();
    a_manager_says_what_it_is();
    done(builder), done(manager);
}

int main(void) {
    manager = system_manager();
    a_manager_says_what_it_is();
    a_scope_is_created_read_and_stopped();
    a_run_is_changed_audited_and_frozen();
    limits_that_are_required_and_not_held_are_an_error_with_details();
    a_slice_joins_adopts_and_attaches();
    a_slice_that_is_spread_is_listed_with_all_that_is_in_it();
    units_are_started_restarted_and_reset_by_their_names();
    a_batch_has_one_outcome_for_each();
    every_setter_sets_the_property_that_it_says();
    a_name_that_is_taken_is_replaced_and_a_unit_restarted_as_it_is_asked();
    done(manager);
    manager = manager_at(UNITWAIT_PRIVATE_SOCKET);
    a_scope_is_created_read_and_stopped();
    done(manager);
    a_lazy_manager_has_met_systemd_with_its_first_request();
    all_is_given_back();
    return 0;
}

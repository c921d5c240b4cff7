/* Requests and values: every setter takes what is right and refuses what is wrong, and what was refused is remembered. */
#include "check.h"

#define SETS(call) CHECK((call) == UNITWAIT_OK)
#define REFUSES(call) CHECK((call) == UNITWAIT_INVALID_INPUT)

static void every_limit_is_taken(unitwait_request *of) {
    const uint16_t numbers[] = {0, 1};
    SETS(unitwait_request_memory_max(of, 64 << 20));
    SETS(unitwait_request_memory_high(of, 48 << 20));
    SETS(unitwait_request_memory_low(of, 16 << 20));
    SETS(unitwait_request_memory_min(of, 8 << 20));
    SETS(unitwait_request_memory_swap_max(of, 0));
    SETS(unitwait_request_memory_zswap_max(of, UINT64_MAX));
    SETS(unitwait_request_tasks_max(of, 20));
    SETS(unitwait_request_cpu_weight(of, 200));
    SETS(unitwait_request_cpu_quota(of, 500000));
    SETS(unitwait_request_cpu_quota_period(of, 100000));
    SETS(unitwait_request_allowed_cpus(of, numbers, 2));
    SETS(unitwait_request_allowed_memory_nodes(of, numbers, 1));
    SETS(unitwait_request_io_weight(of, 50));
    SETS(unitwait_request_io_device_weight(of, "/dev/null", 50));
    SETS(unitwait_request_io_read_bandwidth_max(of, "/dev/null", 1 << 20));
    SETS(unitwait_request_io_write_bandwidth_max(of, "/dev/null", 1 << 20));
    SETS(unitwait_request_io_read_iops_max(of, "/dev/null", 100));
    SETS(unitwait_request_io_write_iops_max(of, "/dev/null", 100));
    SETS(unitwait_request_io_device_latency_target(of, "/dev/null", 50000));
    SETS(unitwait_request_device_policy(of, UNITWAIT_DEVICES_CLOSED));
    SETS(unitwait_request_device_allow(of, "/dev/null", "rw"));
    SETS(unitwait_request_verify(of, true));
    SETS(unitwait_request_require_limits(of, false));
    SETS(unitwait_request_property_u64(of, "StartupCPUWeight", 100));
    SETS(unitwait_request_property_bool(of, "MemoryAccounting", true));
    GOES_WELL(unitwait_request_check(of, &error));
}

static void scopes_slices_and_updates_have_their_setters(void) {
    const char *controllers[] = {"memory", "pids"}, *pages[] = {"man:unitwait(1)"};
    unitwait_value *text = unitwait_value_string("something");
    unitwait_request *scope = unitwait_scope_new("job.scope"), *slice = unitwait_slice_new("jobs.slice");
    unitwait_request *update = unitwait_update_new(), *idle = unitwait_update_new();
    unitwait_request *job = unitwait_job_new(UNITWAIT_RESTART, "job.scope", UNITWAIT_MODE_FAIL);
    int dependency;

    SETS(unitwait_request_pid(scope, getpid()));
    SETS(unitwait_request_own_process(scope));
    SETS(unitwait_request_slice(scope, "jobs.slice"));
    SETS(unitwait_request_delegate(scope, true));
    SETS(unitwait_request_delegate_controllers(scope, controllers, 2));
    SETS(unitwait_request_collect_mode(scope, "inactive-or-failed"));
    SETS(unitwait_request_timeout_stop(scope, UINT64_MAX));
    SETS(unitwait_request_kill_mode(scope, "mixed"));
    SETS(unitwait_request_description(scope, "a job"));
    SETS(unitwait_request_default_dependencies(scope, false));
    for (dependency = UNITWAIT_AFTER; dependency <= UNITWAIT_PART_OF; dependency++)
        SETS(unitwait_request_dependency(scope, dependency, "other.service"));
    SETS(unitwait_request_on_exists(scope, UNITWAIT_EXISTS_REPLACE));
    SETS(unitwait_request_property(scope, "Description", text, true));
    SETS(unitwait_request_property_string(scope, "Description", "another"));
    SETS(unitwait_request_property_strings(scope, "Documentation", pages, 1));
    every_limit_is_taken(scope);

    SETS(unitwait_request_on_exists(slice, UNITWAIT_EXISTS_ACCEPT));
    every_limit_is_taken(slice);

    SETS(unitwait_request_clear(update, "DeviceAllow"));
    SETS(unitwait_request_persistent(update, false));
    every_limit_is_taken(update);
    SETS(unitwait_request_cpu_idle(idle));
    GOES_WELL(unitwait_request_check(idle, &error));

    GOES_WELL(unitwait_request_check(job, &error));
    REFUSES(unitwait_request_tasks_max(job, 1));
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_request_check(job, &error));

    done(text), done(scope), done(slice), done(update), done(idle), done(job);
}

static void what_was_refused_is_remembered_and_told_by_whatever_uses_it(void) {
    unitwait_request *scope = unitwait_scope_new("job.scope");
    unitwait_error *error = NULL;
    SETS(unitwait_request_pid(scope, getpid()));
    REFUSES(unitwait_request_slice(scope, "\xff\xfe.slice"));
    REFUSES(unitwait_request_tasks_max(scope, 20));
    CHECK(unitwait_request_check(scope, &error) == UNITWAIT_INVALID_INPUT);
    CHECK(strstr(unitwait_error_message(error), "UTF-8") != NULL);
    done(error), done(scope);
}

/* What is required must be looked at: the two say so of each other. */
static void limits_can_be_required_only_where_they_are_verified(void) {
    unitwait_request *update = unitwait_update_new();
    SETS(unitwait_request_require_limits(update, true));
    GOES_WELL(unitwait_request_check(update, &error));
    SETS(unitwait_request_verify(update, false));
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_request_check(update, &error));
    done(update);
}

static void nonsense_is_refused(void) {
    const char *texts[] = {"memory", NULL};
    unitwait_request *scope = NULL;
#define EACH_BEGINS_ANEW(call)                                \
    do {                                                      \
        scope = unitwait_scope_new("job.scope");              \
        REFUSES(call);                                        \
        FAILS(UNITWAIT_INVALID_INPUT, unitwait_request_check(scope, &error)); \
        done(scope);                                          \
    } while (0)
    EACH_BEGINS_ANEW(unitwait_request_slice(scope, NULL));
    EACH_BEGINS_ANEW(unitwait_request_delegate_controllers(scope, texts, 2));
    EACH_BEGINS_ANEW(unitwait_request_delegate_controllers(scope, NULL, 2));
    EACH_BEGINS_ANEW(unitwait_request_delegate_controllers(scope, texts, SIZE_MAX));
    EACH_BEGINS_ANEW(unitwait_request_on_exists(scope, 4));
    EACH_BEGINS_ANEW(unitwait_request_on_exists(scope, -1));
    EACH_BEGINS_ANEW(unitwait_request_dependency(scope, 6, "other.service"));
    EACH_BEGINS_ANEW(unitwait_request_device_policy(scope, 1000));
    EACH_BEGINS_ANEW(unitwait_request_property(scope, "CPUWeight", NULL, false));
    EACH_BEGINS_ANEW(unitwait_request_clear(scope, "DeviceAllow"));
    EACH_BEGINS_ANEW(unitwait_request_cpu_weight(scope, 0));
    EACH_BEGINS_ANEW(unitwait_request_memory_max(scope, 0));
    EACH_BEGINS_ANEW(unitwait_request_allowed_cpus(scope, (const uint16_t *)texts, (size_t)1 << 40));
    /* These are right by themselves, and no scope can have them. */
    scope = unitwait_scope_new(NULL);
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_request_check(scope, &error));
    done(scope), scope = unitwait_scope_new("not a name");
    REFUSES(unitwait_request_pid(scope, -5));
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_request_check(scope, &error));
    done(scope), scope = unitwait_scope_new("job.scope");
    REFUSES(unitwait_request_pid(scope, INT64_MAX));
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_request_check(scope, &error));
    done(scope), scope = unitwait_job_new(7, "job.scope", UNITWAIT_MODE_FAIL);
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_request_check(scope, &error));
    done(scope), scope = unitwait_job_new(UNITWAIT_STOP, "no name", UNITWAIT_MODE_FAIL);
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_request_check(scope, &error));
    done(scope);
}

static void a_value_keeps_its_type(void) {
    unitwait_value *pair = unitwait_value_struct(), *list = unitwait_value_array("(st)");
    unitwait_value *device = unitwait_value_string("/dev/null"), *weight = unitwait_value_u64(7), *item;
    unitwait_value *key = unitwait_value_byte(3), *entry, *variant, *number;
    uint64_t u64 = 1;
    int64_t i64 = 1;
    double real = 1;
    bool truth = false;
    size_t at;

    GOES_WELL(unitwait_value_append(pair, device, &error));
    GOES_WELL(unitwait_value_append(pair, weight, &error));
    GOES_WELL(unitwait_value_append(list, pair, &error));
    CHECK(same(unitwait_value_type(list), "a(st)") && unitwait_value_length(list) == 1);
    CHECK(same(unitwait_value_text(list), "/dev/null 7"));
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_value_append(list, pair, &error));
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_value_append(weight, pair, &error));
    item = unitwait_value_item(list, 0);
    done(list), list = unitwait_value_item(item, 1);
    CHECK(unitwait_value_as_u64(list, &u64) && u64 == 7);
    CHECK(unitwait_value_item(item, 2) == NULL && unitwait_value_item(weight, 0) == NULL);
    CHECK(!unitwait_value_as_i64(weight, &i64) && i64 == 0);
    CHECK(unitwait_value_as_string(weight) == NULL && same(unitwait_value_as_string(device), "/dev/null"));
    entry = unitwait_value_entry(key, weight), variant = unitwait_value_variant(entry);
    CHECK(same(unitwait_value_type(variant), "v") && unitwait_value_length(variant) == 1);
    CHECK(same(unitwait_value_type(entry), "{yt}") && unitwait_value_length(entry) == 2);
    done(pair), done(list), done(item), done(device), done(weight), done(key), done(entry), done(variant);

    number = unitwait_value_double(0.5);
    CHECK(unitwait_value_as_double(number, &real) && real == 0.5);
    done(number), number = unitwait_value_bool(true);
    CHECK(unitwait_value_as_bool(number, &truth) && truth && !unitwait_value_as_double(number, &real));
    done(number), number = unitwait_value_i32(-3);
    CHECK(unitwait_value_as_i64(number, &i64) && i64 == -3);
    done(number);
    {
        unitwait_value *others[] = {unitwait_value_i16(-1), unitwait_value_u16(1), unitwait_value_u32(1),
                                    unitwait_value_i64(-1), unitwait_value_path("/a"), unitwait_value_signature("as")};
        const char *types[] = {"n", "q", "u", "x", "o", "g"};
        for (at = 0; at < 6; at++) {
            CHECK(same(unitwait_value_type(others[at]), types[at]));
            done(others[at]);
        }
    }
    /* What nests deeper than any property could is refused where it is built: to look at it would take a stack. */
    for (at = 0, item = unitwait_value_u64(1); item != NULL; at++) {
        unitwait_value *outer = unitwait_value_variant(item);
        done(item), item = outer;
    }
    CHECK(at > 8 && at < 64);
    list = unitwait_value_array("s");
    CHECK(unitwait_value_as_string(list) == NULL);
    item = unitwait_value_string("x");
    GOES_WELL(unitwait_value_append(list, item, &error));
    done(list), done(item);
    CHECK(unitwait_value_string(NULL) == NULL && unitwait_value_path("\xff") == NULL);
    CHECK(unitwait_value_signature(NULL) == NULL && unitwait_value_array(NULL) == NULL);
    CHECK(unitwait_value_entry(NULL, NULL) == NULL && unitwait_value_variant(NULL) == NULL);
}

/* libdbus would end the process over such values: they are refused before it sees them. */
static void a_value_that_no_wire_carries_is_refused(void) {
    unitwait_request *scope = unitwait_scope_new("job.scope");
    unitwait_value *none = unitwait_value_struct(), *bad = unitwait_value_path("no/slash");
    SETS(unitwait_request_pid(scope, getpid()));
    REFUSES(unitwait_request_property(scope, "Description", none, false));
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_request_check(scope, &error));
    done(scope), scope = unitwait_scope_new("job.scope");
    SETS(unitwait_request_pid(scope, getpid()));
    REFUSES(unitwait_request_property(scope, "Description", bad, false));
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_request_check(scope, &error));
    done(scope), done(none), done(bad);
}

static void a_handle_that_is_none_is_told_and_touches_nothing(void) {
    unitwait_request *scope = unitwait_scope_new("job.scope");
    unitwait_value *value = unitwait_value_u64(1);
    int local = 0;
    unitwait_code freed;
    CHECK(unitwait_open_handles() == 2);
    /* NULL, another type's, a stranger's address, a small number. */
    REFUSES(unitwait_request_tasks_max(NULL, 1));
    REFUSES(unitwait_request_tasks_max((unitwait_request *)value, 1));
    REFUSES(unitwait_request_tasks_max((unitwait_request *)(void *)&local, 1));
    REFUSES(unitwait_request_tasks_max((unitwait_request *)(uintptr_t)8, 1));
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_request_check(NULL, &error));
    CHECK(unitwait_free(NULL) == UNITWAIT_OK);
    CHECK(unitwait_free(&local) == UNITWAIT_INVALID_INPUT);
    done(scope);
    /* Freed, and freed again. */
    REFUSES(unitwait_request_tasks_max(scope, 1));
    freed = unitwait_free(scope);
    CHECK(freed == UNITWAIT_INVALID_INPUT);
    CHECK(unitwait_value_type((unitwait_value *)scope) == NULL && unitwait_value_length(NULL) == 0);
    CHECK(same(unitwait_error_message(NULL), "no error") && unitwait_error_code(NULL) == UNITWAIT_INVALID_INPUT);
    CHECK(same(unitwait_code_name(UNITWAIT_TIMEOUT), "timeout") && same(unitwait_code_name(-1), "unknown"));
    CHECK(unitwait_error_job_result(NULL) == NULL && unitwait_watch_descriptor(NULL) == -1);
    CHECK(unitwait_error_dbus_name(NULL) == NULL && unitwait_error_errno(NULL) == 0);
    CHECK(unitwait_error_details(NULL) == NULL && unitwait_error_job(NULL) == 0);
    CHECK(unitwait_error_stage(NULL) == UNITWAIT_STAGE_NONE && unitwait_error_operation(NULL) == NULL);
    CHECK(unitwait_list_length(NULL) == 0 && unitwait_list_text(NULL, 0, 0) == NULL);
    CHECK(!unitwait_list_number(NULL, 0, 0, NULL) && unitwait_list_value(NULL, 0) == NULL);
    CHECK(unitwait_active_unit(NULL) == NULL && unitwait_ticket_descriptor(NULL) == -1);
    CHECK(unitwait_active_limit_gaps(NULL) == NULL && unitwait_child_scope(NULL) == NULL);
    CHECK(unitwait_manager_version(NULL) == NULL && unitwait_watch_dropped(NULL) == 0);
    done(value);
}

/* Each is a way to open nothing, and says why; none of them needs a systemd. */
static void a_program_of_another_header_and_a_wrong_address_are_refused_clearly(void) {
    unitwait_manager *manager = (unitwait_manager *)(uintptr_t)1;
    unitwait_error *error = NULL;
    unitwait_builder *builder;
    CHECK(unitwait_abi() == UNITWAIT_ABI && unitwait_version()[0] != '\0');
    CHECK(unitwait_open(UNITWAIT_ABI + 1, UNITWAIT_SYSTEM_BUS, -1, &manager, &error) == UNITWAIT_ABI_MISMATCH);
    CHECK(manager == NULL && strstr(unitwait_error_message(error), "header") != NULL);
    done(error);
    FAILS(UNITWAIT_ABI_MISMATCH, unitwait_open(0, UNITWAIT_SYSTEM_BUS, -1, &manager, &error));
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_open(UNITWAIT_ABI, 3, -1, &manager, &error));
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_open(UNITWAIT_ABI, UNITWAIT_SYSTEM_BUS, -2, &manager, &error));
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_open(UNITWAIT_ABI, UNITWAIT_SYSTEM_BUS, INT64_MIN, &manager, &error));
    CHECK(unitwait_open(UNITWAIT_ABI + 1, UNITWAIT_SYSTEM_BUS, -1, NULL, NULL) == UNITWAIT_ABI_MISMATCH);

    builder = unitwait_builder_new(UNITWAIT_ABI, UNITWAIT_SYSTEM_BUS);
    SETS(unitwait_builder_address(builder, "unix:path=/nonexistent/unitwait"));
    SETS(unitwait_builder_direct(builder, true));
    SETS(unitwait_builder_default_timeout(builder, 1000));
    SETS(unitwait_builder_window(builder, 16));
    SETS(unitwait_builder_thread_name(builder, "ffi"));
    CHECK(unitwait_builder_open(builder, -1, &manager, &error) == UNITWAIT_CONNECT);
    CHECK(manager == NULL && strstr(unitwait_error_message(error), "/nonexistent/unitwait") != NULL);
    done(error);
    SETS(unitwait_builder_lazy(builder, true));
    GOES_WELL(unitwait_builder_open(builder, -1, &manager, &error));
    CHECK(same(unitwait_manager_version(manager), ""));
    CHECK(unitwait_stop_unit(manager, "a.scope", -1, NULL, &error) == UNITWAIT_CONNECT);
    done(error), done(manager);
    REFUSES(unitwait_builder_address(builder, NULL));
    FAILS(UNITWAIT_INVALID_INPUT, unitwait_builder_open(builder, -1, &manager, &error));
    done(builder), builder = unitwait_builder_new(UNITWAIT_ABI + 1, UNITWAIT_SYSTEM_BUS);
    FAILS(UNITWAIT_ABI_MISMATCH, unitwait_builder_open(builder, -1, &manager, &error));
    done(builder);
}

int main(void) {
    scopes_slices_and_updates_have_their_setters();
    what_was_refused_is_remembered_and_told_by_whatever_uses_it();
    limits_can_be_required_only_where_they_are_verified();
    nonsense_is_refused();
    a_value_keeps_its_type();
    a_value_that_no_wire_carries_is_refused();
    a_handle_that_is_none_is_told_and_touches_nothing();
    a_program_of_another_header_and_a_wrong_address_are_refused_clearly();
    all_is_given_back();
    return 0;
}

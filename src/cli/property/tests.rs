//! What assignments become, one of each kind and each edge, and that a wrong one is refused with a way out.

use proptest::prelude::*;
use unitwait::Value;

use super::parse;

#[track_caller]
fn becomes(text: &str, name: &str, value: Value) {
    let properties = parse(text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(properties.len(), 1, "{text}");
    assert_eq!((properties[0].name(), properties[0].value()), (name, &value), "{text}");
}

#[track_caller]
fn is_refused(text: &str, reason: &str, hint: &str) {
    let error = parse(text).expect_err(text);
    assert_eq!(error.given, text);
    assert!(error.reason.contains(reason), "{text}: {}", error.reason);
    assert!(error.hint.contains(hint), "{text}: {}", error.hint);
    assert!(error.to_string().contains(text) && error.to_string().contains(reason), "{error}");
}

fn pair(path: &str, number: u64) -> Value {
    let entry = Value::Struct(vec![path.into(), number.into()]);
    Value::Array("(st)".into(), vec![entry])
}

#[test]
fn every_example_of_the_table_is_read() {
    for row in super::TABLE {
        for name in row.names {
            if let Err(error) = parse(&format!("{name}={}", row.example)) {
                panic!("{error}");
            }
        }
    }
}

#[test]
fn no_name_stands_in_the_table_twice() {
    let mut names: Vec<_> = super::TABLE.iter().flat_map(|row| row.names).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn text_truth_and_words() {
    becomes("Description=a = b: c", "Description", "a = b: c".into());
    becomes("Description=", "Description", "".into());
    for yes in ["1", "yes", "Y", "true", "t", "ON"] {
        becomes(&format!("SendSIGHUP={yes}"), "SendSIGHUP", true.into());
    }
    becomes("AddRef=off", "AddRef", false.into());
    becomes("After= a.service  b.target", "After", Value::strings(["a.service", "b.target"]));
    becomes("Wants=", "Wants", Value::strings::<&str>([]));
    becomes(r#"Documentation="man:a b" 'c'd \""#, "Documentation", Value::strings(["man:a b", "cd", "\""]));
    is_refused("AddRef=maybe", "neither yes nor no", "AddRef=yes");
    is_refused("After=\"a", "quote", "After=");
    is_refused("After=a\\", "backslash", "After=");
}

#[test]
fn sizes() {
    for (text, bytes) in [
        ("0", 0),
        ("4096", 4096),
        ("4096B", 4096),
        ("64M", 64 << 20),
        ("1.5G", 3 << 29),
        ("10.M", 10 << 20),
        ("1G 512M", 3 << 29),
        ("1G512M", 3 << 29),
        (" 2 K", 2048),
        ("15E", 15 << 60),
        ("infinity", u64::MAX),
        ("", u64::MAX),
    ] {
        becomes(&format!("MemoryMax={text}"), "MemoryMax", bytes.into());
    }
    becomes("MemoryLow=", "MemoryLow", 0u64.into());
    for (text, reason) in [
        ("64m", "`m` is not one of the suffixes"),
        ("64MB", "`MB`"),
        ("1K 1M", "larger"),
        ("16E", "64 bits"),
        ("99999999999999999999", "64 bits"),
        ("-1", "negative"),
        ("M", "number is missing"),
        ("x", "number is missing"),
        ("1M,", "missing before `,`"),
        (".", "number is missing"),
        (".5M", "digit is missing"),
    ] {
        is_refused(&format!("MemoryMax={text}"), reason, "MemoryMax=512M");
    }
}

#[test]
fn shares_have_properties_of_their_own() {
    becomes("MemoryMax=10%", "MemoryMaxScale", 429_496_730u32.into());
    becomes("MemoryMax=100%", "MemoryMaxScale", u32::MAX.into());
    becomes("TasksMax=12.34%", "TasksMaxScale", 529_998_964u32.into());
    becomes("MemoryLow=5.5‰", "MemoryLowScale", 23_622_320u32.into());
    becomes("MemoryHigh=1‱", "MemoryHighScale", 429_497u32.into());
    becomes("ManagedOOMMemoryPressureLimit=60%", "ManagedOOMMemoryPressureLimit", 2_576_980_377u32.into());
    is_refused("MemoryMax=101%", "more than 100%", "512M");
    is_refused("TasksMax=1.234%", "two decimal places", "TasksMax=100");
    is_refused("TasksMax=1.%", "two decimal places", "TasksMax=100");
    is_refused("TasksMax=-1%", "negative", "TasksMax=100");
    is_refused("ManagedOOMMemoryPressureLimit=60", "not a percentage", "60%");
}

#[test]
fn numbers() {
    becomes("TasksMax=20", "TasksMax", 20u64.into());
    becomes("TasksMax=0x10", "TasksMax", 16u64.into());
    becomes("TasksMax=010", "TasksMax", 8u64.into());
    becomes("TasksMax=infinity", "TasksMax", Value::INFINITY);
    becomes("StartLimitBurst=5", "StartLimitBurst", 5u32.into());
    becomes("FailureActionExitStatus=7", "FailureActionExitStatus", 7i32.into());
    becomes("FailureActionExitStatus=", "FailureActionExitStatus", (-1i32).into());
    for (text, reason) in [
        ("-1", "negative"),
        ("1.5", "not a number"),
        ("18446744073709551616", "64 bits"),
        ("--1", "not a number"),
    ] {
        is_refused(&format!("TasksMax={text}"), reason, "TasksMax=100");
    }
    is_refused("StartLimitBurst=4294967296", "more than", "5");
    is_refused("FailureActionExitStatus=256", "between 0 and 255", "1");
}

#[test]
fn the_processor() {
    becomes("CPUQuota=50%", "CPUQuotaPerSecUSec", 500_000u64.into());
    becomes("CPUQuota=250%", "CPUQuotaPerSecUSec", 2_500_000u64.into());
    becomes("CPUQuota=0.01%", "CPUQuotaPerSecUSec", 100u64.into());
    becomes("CPUQuota=", "CPUQuotaPerSecUSec", Value::INFINITY);
    becomes("CPUQuotaPeriodSec=10ms", "CPUQuotaPeriodUSec", 10_000u64.into());
    becomes("CPUQuotaPeriodSec=", "CPUQuotaPeriodUSec", Value::INFINITY);
    becomes("CPUWeight=200", "CPUWeight", 200u64.into());
    becomes("CPUWeight=idle", "CPUWeight", 0u64.into());
    becomes("IOWeight=", "IOWeight", u64::MAX.into());
    becomes("AllowedCPUs=0-3,7 9", "AllowedCPUs", Value::bytes([0b1000_1111, 0b10]));
    becomes("AllowedMemoryNodes=", "AllowedMemoryNodes", Value::bytes([]));
    is_refused("CPUQuota=0%", "nothing", "CPUQuota=50%");
    is_refused("CPUQuota=50", "not a percentage", "CPUQuota=50%");
    is_refused("CPUQuota=99999999999%", "too much", "CPUQuota=50%");
    is_refused("CPUQuota=184467440737095516.99%", "too much", "CPUQuota=50%");
    is_refused("CPUWeight=0", "between 1 and 10000", "CPUWeight=100");
    is_refused("AllowedCPUs=3-1", "ends before it starts", "0-3,7");
    is_refused("AllowedCPUs=8192", "between 0 and 8191", "0-3,7");
    is_refused("AllowedCPUs=1-", "not a number", "0-3,7");
}

#[test]
fn spans_of_time() {
    for (text, micros) in [
        ("10", 10_000_000),
        ("1.5", 1_500_000),
        (".5s", 500_000),
        ("500ms", 500_000),
        ("2us", 2),
        ("2µs", 2),
        ("1min 30s", 90_000_000),
        ("1min30s", 90_000_000),
        ("1h 2 m", 3_720_000_000),
        ("5 5", 10_000_000),
        ("1M", 2_629_800_000_000),
        ("2y 1w", 63_720_000_000_000),
        (" infinity ", u64::MAX),
    ] {
        becomes(&format!("RuntimeMaxSec={text}"), "RuntimeMaxUSec", micros.into());
    }
    becomes("TimeoutStopSec=90s", "TimeoutStopUSec", 90_000_000u64.into());
    for (text, reason) in [
        ("", "number is missing"),
        ("10 parsecs", "`parsecs` is not a unit"),
        ("-5s", "negative"),
        ("1.2.3", "not a time"),
        ("3.s", "digit is missing"),
        ("999999999999y", "64 bits"),
        ("18446744073709551615us", "64 bits"),
    ] {
        is_refused(&format!("RuntimeMaxSec={text}"), reason, "RuntimeMaxSec=1min 30s");
    }
}

#[test]
fn signals() {
    for (text, number) in [
        ("SIGKILL", 9),
        ("INT", 2),
        ("15", 15),
        ("SIGRTMIN", 34),
        ("RTMIN+3", 37),
        ("RTMAX", 64),
        ("SIGRTMAX-1", 63),
    ] {
        becomes(&format!("KillSignal={text}"), "KillSignal", i32::into(number));
    }
    for text in ["NOPE", "sigterm", "0", "65", "RTMIN+31", "RTMAX+1", "-9", ""] {
        is_refused(&format!("KillSignal={text}"), "", "KillSignal=SIGTERM");
    }
}

#[test]
fn delegation_is_a_truth_or_a_list() {
    becomes("Delegate=yes", "Delegate", true.into());
    becomes("Delegate=cpu memory", "DelegateControllers", Value::strings(["cpu", "memory"]));
    becomes("Delegate=", "DelegateControllers", Value::strings::<&str>([]));
}

#[test]
fn devices() {
    becomes("IOReadBandwidthMax=/dev/sda 1M", "IOReadBandwidthMax", pair("/dev/sda", 1_000_000));
    becomes("IOWriteIOPSMax=/dev/sda 1K", "IOWriteIOPSMax", pair("/dev/sda", 1_000));
    becomes("IOWriteIOPSMax=/dev/sda infinity", "IOWriteIOPSMax", pair("/dev/sda", u64::MAX));
    becomes("IODeviceWeight=/dev/sda 200", "IODeviceWeight", pair("/dev/sda", 200));
    becomes("IODeviceLatencyTargetSec=/dev/sda 25ms", "IODeviceLatencyTargetUSec", pair("/dev/sda", 25_000));
    becomes("IODeviceLatencyTargetSec=", "IODeviceLatencyTargetUSec", Value::Array("(st)".into(), vec![]));
    let allow = |device: &str, access: &str| {
        let entry = Value::Struct(vec![device.into(), access.into()]);
        Value::Array("(ss)".into(), vec![entry])
    };
    becomes("DeviceAllow=/dev/null rw", "DeviceAllow", allow("/dev/null", "rw"));
    becomes("DeviceAllow=/dev/null  r", "DeviceAllow", allow("/dev/null", "r"));
    becomes("DeviceAllow=char-pts", "DeviceAllow", allow("char-pts", ""));
    is_refused("IOReadBandwidthMax=/dev/sda", "a path, a space", "/dev/sda 10M");
    is_refused("IOReadBandwidthMax=sda 1M", "not an absolute path", "/dev/sda 10M");
    is_refused("IODeviceWeight=/dev/sda 20000", "between 1 and 10000", "/dev/sda 200");
    is_refused("DeviceAllow=/dev/null rx", "r, w and m", "/dev/null rw");
}

#[test]
fn the_network() {
    let prefix = |family: i32, bytes: &[u8], length: u32| {
        Value::Struct(vec![family.into(), Value::bytes(bytes.iter().copied()), length.into()])
    };
    let list = |entries| Value::Array("(iayu)".into(), entries);
    let any = list(vec![prefix(2, &[0; 4], 0), prefix(10, &[0; 16], 0)]);
    becomes("IPAddressDeny=any", "IPAddressDeny", any);
    let two = list(vec![prefix(2, &[10, 0, 0, 0], 8), prefix(2, &[192, 168, 1, 1], 32)]);
    becomes("IPAddressAllow=10.0.0.0/8 192.168.1.1", "IPAddressAllow", two);
    let bind = |family: i32, protocol: i32, ports: u16, first: u16| {
        let rule = Value::Struct(vec![family.into(), protocol.into(), ports.into(), first.into()]);
        Value::Array("(iiqq)".into(), vec![rule])
    };
    becomes("SocketBindAllow=ipv6:udp:8000-8080", "SocketBindAllow", bind(10, 17, 81, 8000));
    becomes("SocketBindDeny=any", "SocketBindDeny", bind(0, 0, 0, 0));
    becomes("SocketBindDeny=ipv4", "SocketBindDeny", bind(2, 0, 0, 0));
    becomes("SocketBindDeny=0-65535", "SocketBindDeny", bind(0, 0, 0, 0));
    is_refused("IPAddressDeny=10.0.0.0/33", "between 0 and 32", "10.0.0.0/8");
    is_refused("IPAddressDeny=nowhere", "not an IP address", "localhost");
    is_refused("SocketBindDeny=tcp:ipv4:1", "not a number", "ipv4:tcp");
    is_refused("SocketBindDeny=80:90", "after the port", "ipv4:tcp");
    is_refused("SocketBindDeny=90-80", "ends before", "ipv4:tcp");
}

#[test]
fn conditions_are_data_of_one_property() {
    let condition = Value::Struct(vec!["ConditionPathExists".into(), true.into(), true.into(), "/a".into()]);
    becomes("ConditionPathExists=|!/a", "Conditions", Value::Array("(sbbs)".into(), vec![condition]));
    becomes("AssertPathExists=", "Asserts", Value::Array("(sbbs)".into(), vec![]));
}

#[test]
fn a_type_may_be_given() {
    becomes("New:s=a:b=c", "New", "a:b=c".into());
    becomes("New:b=yes", "New", true.into());
    becomes("New:y=255", "New", 255u8.into());
    becomes("New:n=-32768", "New", i16::MIN.into());
    becomes("New:q=65535", "New", u16::MAX.into());
    becomes("New:i=-1", "New", (-1i32).into());
    becomes("New:u=1", "New", 1u32.into());
    becomes("New:x=-1", "New", (-1i64).into());
    becomes("New:t=infinity", "New", Value::INFINITY);
    becomes("New:d=0.5", "New", 0.5.into());
    becomes("New:o=/a/b_1", "New", Value::Path("/a/b_1".into()));
    becomes("New:as=one 'and two'", "New", Value::strings(["one", "and two"]));
    is_refused("New:u=-1", "does not fit", "New:u=10");
    is_refused("New:y=256", "does not fit", "New:y=255");
    is_refused("New:o=a/b", "not an object path", "New:o=/");
    is_refused("New:o=/a//b", "not an object path", "New:o=/");
    is_refused("New:a(st)=1", "`a(st)`", "b y n q i u x t d s o as");
    is_refused("New:=1", "cannot be given", "New:t=10");
}

#[test]
fn what_is_no_assignment_is_refused_with_the_way_out() {
    is_refused("MemoryMax", "no `=`", "MemoryMax=512M");
    is_refused("=5", "no name", "NAME=VALUE");
    is_refused("Memory Max=5", "no name", "NAME=VALUE");
    is_refused("memorymax=5", "no property `memorymax`", "`MemoryMax`");
    is_refused("RuntimeMaxUSec=5", "D-Bus", "RuntimeMaxSec=");
    is_refused("CPUQuotaPerSecUSec=5", "D-Bus", "CPUQuota=");
    is_refused("ExecStart=/bin/true", "no property of a scope or slice", "ExecStart:s=VALUE");
    is_refused("NFTSet=cgroup:inet:a:b", "grammar of its own", "systemctl set-property");
    is_refused("", "no `=`", "NAME=VALUE");
}

proptest! {
    /// Numbers of every length among the signs that mean something, for each way of reading.
    #[test]
    fn no_value_is_read_into_a_panic_or_refused_without_a_word(
        row in 0..super::TABLE.len(),
        value in "([0-9]{0,21}|[-+.:,/%‰‱ KMGTPEsmhdµ'\"x]|[a-z0-9]{1,4}|\\PC)*",
    ) {
        let given = format!("{}={value}", super::TABLE[row].names[0]);
        match parse(&given) {
            Ok(properties) => prop_assert_eq!(properties.len(), 1),
            Err(error) => prop_assert!(!error.reason.is_empty() && error.hint.contains("for example")),
        }
    }
}

//! Jobs: systemd's word for one change it was asked to make to one unit, and how such a change ends.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::unit::Value;

/// The number that a running systemd gives to a job; unique while that systemd runs.
///
/// ```
/// use unitwait::JobId;
///
/// assert_eq!(JobId::new(42).to_string(), "42");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(u32);

impl JobId {
    /// A job by its number, as `systemctl list-jobs` shows it.
    ///
    /// ```
    /// assert_eq!(unitwait::JobId::new(7).get(), 7);
    /// ```
    pub const fn new(id: u32) -> JobId {
        JobId(id)
    }

    /// The number.
    ///
    /// ```
    /// assert_eq!(unitwait::JobId::new(7).get(), 7);
    /// ```
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Reads the number out of a job's object path, `/org/freedesktop/systemd1/job/42`.
    pub(crate) fn from_path(path: &str) -> Option<JobId> {
        path.strip_prefix(OBJECTS)?.parse().ok().map(JobId)
    }

    pub(crate) fn object_path(self) -> String {
        format!("{OBJECTS}{self}")
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

const OBJECTS: &str = "/org/freedesktop/systemd1/job/";

/// What became of a job, as `JobRemoved` says it.
///
/// Source: `org.freedesktop.systemd1(5)`, "JobNew and JobRemoved", and `job_result_table` in systemd for the
/// results that the page leaves out. A result that this list does not know is kept as its text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JobResult {
    /// The job was carried out.
    Done,
    /// Somebody cancelled it, or a later job took its place.
    Canceled,
    /// It ran longer than the unit's own job timeout allows.
    Timeout,
    /// The unit failed to do what the job asked.
    Failed,
    /// A job that this one depends on did not end well.
    Dependency,
    /// There was nothing to do for it.
    Skipped,
    /// The job does not apply to the unit (a reload of a unit that is not running).
    Invalid,
    /// An assertion of the unit did not hold.
    Assert,
    /// This systemd cannot do this with this type of unit.
    Unsupported,
    /// The unit was garbage-collected while the job waited.
    Collected,
    /// The unit may start only once, and has.
    Once,
    /// The unit is frozen.
    Frozen,
    /// The slice's limit on concurrent units is reached.
    Concurrency,
    /// A result of a newer systemd, by its text.
    Other(String),
}

const RESULTS: [(&str, JobResult); 13] = [
    ("done", JobResult::Done),
    ("canceled", JobResult::Canceled),
    ("timeout", JobResult::Timeout),
    ("failed", JobResult::Failed),
    ("dependency", JobResult::Dependency),
    ("skipped", JobResult::Skipped),
    ("invalid", JobResult::Invalid),
    ("assert", JobResult::Assert),
    ("unsupported", JobResult::Unsupported),
    ("collected", JobResult::Collected),
    ("once", JobResult::Once),
    ("frozen", JobResult::Frozen),
    ("concurrency", JobResult::Concurrency),
];

impl JobResult {
    /// The result by systemd's own word; an unknown word is kept.
    ///
    /// ```
    /// use unitwait::JobResult;
    ///
    /// assert_eq!(JobResult::from_word("done"), JobResult::Done);
    /// assert_eq!(JobResult::from_word("new").as_str(), "new");
    /// ```
    pub fn from_word(word: &str) -> JobResult {
        let known = RESULTS.iter().find(|(name, _)| *name == word);
        known.map_or_else(|| JobResult::Other(word.into()), |(_, result)| result.clone())
    }

    /// systemd's own word for it.
    ///
    /// ```
    /// assert_eq!(unitwait::JobResult::Canceled.as_str(), "canceled");
    /// ```
    pub fn as_str(&self) -> &str {
        match self {
            JobResult::Other(word) => word,
            known => RESULTS.iter().find(|(_, result)| result == known).map_or("", |(name, _)| name),
        }
    }

    /// What a person can do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            JobResult::Done => "nothing is wrong",
            JobResult::Canceled => "another request cancelled it; see `systemctl list-jobs`, then try again",
            JobResult::Timeout => "the unit's own timeout ran out; see JobTimeoutSec= and TimeoutStopSec=",
            JobResult::Dependency => "look at the units it requires: `systemctl list-dependencies`",
            JobResult::Concurrency => {
                "raise ConcurrencyHardMax= of the slice, or wait for a unit in it to end"
            }
            JobResult::Frozen => "thaw the unit first: `systemctl thaw`",
            JobResult::Unsupported => "this systemd cannot do it for this type of unit",
            _ => "see `systemctl status` of the unit and the journal",
        }
    }
}

impl fmt::Display for JobResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What to do about jobs that the unit has already.
///
/// Source: `org.freedesktop.systemd1(5)`, `StartUnit()`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JobMode {
    /// Take the place of a conflicting job.
    #[default]
    Replace,
    /// Fail where a conflicting job is queued.
    Fail,
    /// Take the place of conflicting jobs and of others that depend on the unit.
    ReplaceIrreversibly,
    /// Leave the unit's dependencies out.
    IgnoreDependencies,
    /// Leave only the ordering dependencies out.
    IgnoreRequirements,
}

impl JobMode {
    /// systemd's own word for it.
    ///
    /// ```
    /// assert_eq!(unitwait::JobMode::default().as_str(), "replace");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            JobMode::Replace => "replace",
            JobMode::Fail => "fail",
            JobMode::ReplaceIrreversibly => "replace-irreversibly",
            JobMode::IgnoreDependencies => "ignore-dependencies",
            JobMode::IgnoreRequirements => "ignore-requirements",
        }
    }
}

/// How long each stage of a request took; they add up to the time from asking to the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StageTimes {
    /// In line, the connection included.
    pub queued: std::time::Duration,
    /// From the call to systemd's answer to it.
    pub accepted: std::time::Duration,
    /// From the answer to the end of the job.
    pub done: std::time::Duration,
    /// Looking at the kernel.
    pub verified: std::time::Duration,
}

/// The 128-bit number that tells one run of a unit from every other run, of any unit, ever.
///
/// Source: `systemd.exec(5)`, `$INVOCATION_ID`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InvocationId(u128);

impl InvocationId {
    /// The number from its 16 bytes, as the property `InvocationID` carries them.
    ///
    /// ```
    /// let id = unitwait::InvocationId::from_bytes([1; 16]);
    /// assert_eq!(id.to_string(), "01".repeat(16));
    /// ```
    pub const fn from_bytes(bytes: [u8; 16]) -> InvocationId {
        InvocationId(u128::from_be_bytes(bytes))
    }

    /// Reads it from the property `InvocationID`; the few units that were there before all others have none.
    pub(crate) fn from_value(value: &Value) -> Option<InvocationId> {
        let bytes: Option<Vec<u8>> =
            value.items().iter().map(|byte| u8::try_from(byte.as_u64()?).ok()).collect();
        bytes?.try_into().ok().map(InvocationId::from_bytes)
    }

    /// The object path at which systemd keeps this run, and no other run of the same unit name.
    pub(crate) fn object_path(self) -> String {
        crate::systemd1::unit_path(&self.to_string())
    }
}

impl fmt::Display for InvocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for InvocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InvocationId({self})")
    }
}

impl FromStr for InvocationId {
    type Err = Error;

    /// Reads 32 hexadecimal digits, as `systemctl show -p InvocationID` prints them.
    fn from_str(text: &str) -> Result<InvocationId, Error> {
        let refuse = || Error::invalid("invocation ID", text, "it is not 32 hexadecimal digits");
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(refuse());
        }
        u128::from_str_radix(text, 16).map(InvocationId).map_err(|_| refuse())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_result_keeps_its_word_and_unknown_ones_too() {
        for (word, result) in RESULTS {
            assert_eq!(JobResult::from_word(word), result);
            assert_eq!(result.as_str(), word);
        }
        assert_eq!(JobResult::from_word("meteor"), JobResult::Other("meteor".into()));
    }

    #[test]
    fn only_a_jobs_own_path_names_a_job() {
        assert_eq!(JobId::from_path("/org/freedesktop/systemd1/job/42"), Some(JobId(42)));
        for path in ["/", "/org/freedesktop/systemd1/job/", "/org/freedesktop/systemd1/job/x", "/a/42"] {
            assert_eq!(JobId::from_path(path), None, "{path}");
        }
    }

    #[test]
    fn an_invocation_id_has_systemds_own_object_path() {
        let id: InvocationId = "4a1b00000000000000000000000000ff".parse().unwrap();
        assert_eq!(id.object_path(), "/org/freedesktop/systemd1/unit/_34a1b00000000000000000000000000ff");
        assert!("4a1b".parse::<InvocationId>().is_err());
        assert!("+a1b00000000000000000000000000ff".parse::<InvocationId>().is_err());
    }
}

//! A property to set on a unit, and the types systemd gives to those that scopes and slices have.

use std::borrow::Cow;

use super::range;
use super::value::Value;
use crate::error::Error;

/// One property of a unit: its D-Bus name and its typed value.
///
/// ```
/// use unitwait::Property;
///
/// let limit = Property::new("RuntimeMaxUSec", 60_000_000u64);
/// assert_eq!(limit.name(), "RuntimeMaxUSec");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    name: Cow<'static, str>,
    value: Value,
    optional: bool,
    /// Why it is refused, where a setter was given what cannot be.
    refused: Option<&'static str>,
}

impl Property {
    /// A property by the name that it has on D-Bus (`CPUQuotaPerSecUSec`, where unit files say `CPUQuota=`).
    ///
    /// Nothing is checked here: a property that cannot be sent is refused by the call that would send it.
    ///
    /// ```
    /// use unitwait::{Property, Value};
    ///
    /// let property = Property::new("OOMPolicy", "kill");
    /// assert_eq!(property.value(), &Value::from("kill"));
    /// ```
    pub fn new(name: impl Into<String>, value: impl Into<Value>) -> Property {
        Property { name: Cow::Owned(name.into()), value: value.into(), optional: false, refused: None }
    }

    /// The same by a name that need not be kept for each.
    pub(crate) fn known(name: &'static str, value: impl Into<Value>) -> Property {
        Property { name: Cow::Borrowed(name), value: value.into(), optional: false, refused: None }
    }

    /// The same property, to be left out where this systemd does not know it, or does not let it be set on this kind
    /// of unit; what was left out is told in the result. Not marked so, it is [`Error::UnknownProperty`].
    ///
    /// ```
    /// use unitwait::{Property, Scope};
    ///
    /// // Of systemd 256.
    /// let writeback = Property::new("MemoryZSwapWriteback", false).optional();
    /// let scope = Scope::new("job.scope").own_process().memory_max(64 << 20).property(writeback);
    /// ```
    #[must_use]
    pub fn optional(mut self) -> Property {
        self.optional = true;
        self
    }

    /// Whether it may be left out.
    ///
    /// ```
    /// assert!(!unitwait::Property::new("TasksMax", 20u64).is_optional());
    /// ```
    pub fn is_optional(&self) -> bool {
        self.optional
    }

    pub(super) fn refused(self, why: &'static str) -> Property {
        Property { refused: Some(why), ..self }
    }

    /// Adds an entry to a list whose entries are for something each, in place of the one for the same.
    pub(super) fn add_entry(&mut self, entry: Value) {
        if let Value::Array(_, entries) = &mut self.value {
            entries.retain(|known| known.items().first() != entry.items().first());
            entries.push(entry);
        }
    }

    /// The property's name on D-Bus.
    ///
    /// ```
    /// assert_eq!(unitwait::Property::new("TasksMax", 20u64).name(), "TasksMax");
    /// ```
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The property's value.
    ///
    /// ```
    /// use unitwait::{Property, Value};
    ///
    /// assert_eq!(Property::new("TasksMax", 20u64).value(), &Value::U64(20));
    /// ```
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Refuses what systemd could never take: a name that is none, a value that the wire has no room for, for the
    /// properties whose type is known, any other type, and for those whose range is, any value outside of it.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let refuse = |reason: String| Err(Error::invalid("property", self.name(), reason));
        if self.name.is_empty() || !self.name.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return refuse("a property's name is made of ASCII letters and digits".into());
        }
        if let Some(fault) = self.value.fault() {
            return refuse(fault);
        }
        let found = self.value.signature();
        if let Some(wanted) = signature_of(&self.name).filter(|wanted| *wanted != found) {
            return refuse(format!("its D-Bus type is `{wanted}`, and a value of type `{found}` was given"));
        }
        let fault = self.refused.map(String::from).or_else(|| range::fault(&self.name, &self.value));
        fault.map_or(Ok(()), refuse)
    }
}

/// The type of a property that systemd takes for a transient scope or slice; `None` for one that is not listed
/// here, which is sent as it is, for a newer systemd may know it.
///
/// Source: `org.freedesktop.systemd1(5)`, the interfaces Unit, Scope and Slice, and systemd's parser of
/// transient properties where that takes another type than the one read back.
fn signature_of(name: &str) -> Option<&'static str> {
    Some(match name {
        "DefaultDependencies"
        | "IgnoreOnIsolate"
        | "StopWhenUnneeded"
        | "RefuseManualStart"
        | "RefuseManualStop"
        | "AllowIsolate"
        | "SurviveFinalKillSignal"
        | "CPUAccounting"
        | "MemoryAccounting"
        | "TasksAccounting"
        | "IOAccounting"
        | "BlockIOAccounting"
        | "IPAccounting"
        | "Delegate"
        | "SendSIGKILL"
        | "SendSIGHUP"
        | "AddRef"
        | "CoredumpReceive"
        | "MemoryZSwapWriteback" => "b",
        "Description"
        | "Slice"
        | "CollectMode"
        | "KillMode"
        | "OOMPolicy"
        | "DevicePolicy"
        | "FailureAction"
        | "SuccessAction"
        | "SourcePath"
        | "JobTimeoutAction"
        | "JobTimeoutRebootArgument"
        | "ManagedOOMSwap"
        | "ManagedOOMMemoryPressure"
        | "ManagedOOMPreference"
        | "Controller"
        | "User"
        | "Group"
        | "OnSuccessJobMode"
        | "OnFailureJobMode"
        | "DelegateSubgroup"
        | "MemoryPressureWatch" => "s",
        "After"
        | "Before"
        | "Requires"
        | "Requisite"
        | "Wants"
        | "BindsTo"
        | "PartOf"
        | "Upholds"
        | "Conflicts"
        | "OnFailure"
        | "OnSuccess"
        | "PropagatesStopTo"
        | "StopPropagatedFrom"
        | "JoinsNamespaceOf"
        | "Documentation"
        | "RequiresMountsFor"
        | "WantsMountsFor"
        | "DelegateControllers"
        | "DisableControllers" => "as",
        "MemoryMax"
        | "MemoryHigh"
        | "MemoryLow"
        | "MemoryMin"
        | "MemorySwapMax"
        | "MemoryZSwapMax"
        | "MemoryLimit"
        | "DefaultMemoryLow"
        | "DefaultMemoryMin"
        | "StartupMemoryMax"
        | "StartupMemoryHigh"
        | "StartupMemoryLow"
        | "StartupMemorySwapMax"
        | "StartupMemoryZSwapMax"
        | "DefaultStartupMemoryLow"
        | "TasksMax"
        | "CPUQuotaPerSecUSec"
        | "CPUQuotaPeriodUSec"
        | "CPUWeight"
        | "StartupCPUWeight"
        | "CPUShares"
        | "StartupCPUShares"
        | "IOWeight"
        | "StartupIOWeight"
        | "BlockIOWeight"
        | "StartupBlockIOWeight"
        | "TimeoutStopUSec"
        | "RuntimeMaxUSec"
        | "RuntimeRandomizedExtraUSec"
        | "JobTimeoutUSec"
        | "JobRunningTimeoutUSec"
        | "MemoryPressureThresholdUSec"
        | "ManagedOOMMemoryPressureDurationUSec" => "t",
        "MemoryMaxScale"
        | "MemoryHighScale"
        | "MemoryLowScale"
        | "MemoryMinScale"
        | "MemorySwapMaxScale"
        | "MemoryZSwapMaxScale"
        | "TasksMaxScale"
        | "ManagedOOMMemoryPressureLimit" => "u",
        "AllowedCPUs" | "StartupAllowedCPUs" | "AllowedMemoryNodes" | "StartupAllowedMemoryNodes" => "ay",
        "IODeviceWeight"
        | "IOReadBandwidthMax"
        | "IOWriteBandwidthMax"
        | "IOReadIOPSMax"
        | "IOWriteIOPSMax"
        | "IODeviceLatencyTargetUSec"
        | "BlockIODeviceWeight"
        | "BlockIOReadBandwidth"
        | "BlockIOWriteBandwidth" => "a(st)",
        "DeviceAllow" => "a(ss)",
        "KillSignal" | "RestartKillSignal" | "FinalKillSignal" | "WatchdogSignal" => "i",
        "PIDs" => "au",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_name_or_type_is_refused_with_both_types_named() {
        let error = Property::new("MemoryMax", "64M").check().unwrap_err().to_string();
        assert!(error.contains("MemoryMax") && error.contains("`t`") && error.contains("`s`"), "{error}");
        for name in ["", "Memory Max", "Mémoire", "A\0", "A-B"] {
            assert!(Property::new(name, 1u64).check().is_err(), "{name:?} passed");
        }
    }

    #[test]
    fn an_unknown_property_is_left_for_systemd_to_judge() {
        assert!(Property::new("NotYetInvented", "x").check().is_ok());
    }
}

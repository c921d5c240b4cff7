//! `audit`: whether the kernel still holds what systemd says of units.

use std::fmt::Write;

use serde_json::{Value as Json, json};
use unitwait::{Audit, AuditFinding};

use crate::failure::Failure;
use crate::output::gap_json;
use crate::session::Session;
use crate::units::{report, scopes};

pub fn audit(session: &Session, names: &[String]) -> Result<(), Failure> {
    let manager = session.open()?;
    let (mut lines, mut audited, mut failures) = (String::new(), Vec::new(), Vec::new());
    let mut differs = false;
    for unit in scopes(names) {
        match manager.audit(&unit, session.deadline()) {
            Ok(audit) => {
                differs |= !audit.findings.is_empty();
                tell(&mut lines, &audit);
                audited.push(as_json(&audit));
            }
            Err(error) => failures.push(error.into()),
        }
    }
    report(session, lines, audited, failures)?;
    if differs { Err(Failure::Differs) } else { Ok(()) }
}

fn tell(lines: &mut String, audit: &Audit) {
    if audit.findings.is_empty() {
        let _ = writeln!(lines, "{}: as systemd says", audit.unit);
    }
    for finding in &audit.findings {
        let _ = writeln!(lines, "{}: {finding}", audit.unit);
    }
}

fn as_json(audit: &Audit) -> Json {
    let findings: Vec<Json> = audit.findings.iter().map(finding_json).collect();
    json!({ "unit": audit.unit, "control_group": audit.control_group, "findings": findings })
}

fn finding_json(finding: &AuditFinding) -> Json {
    let message = finding.to_string();
    let (kind, gap) = match finding {
        AuditFinding::Gone => ("gone", None),
        AuditFinding::Replaced => ("replaced", None),
        AuditFinding::Misplaced(process) => {
            return json!({
                "kind": "misplaced", "message": message, "pid": process.pid, "hierarchy": process.hierarchy,
                "expected": process.expected, "found": process.found,
            });
        }
        AuditFinding::Overwritten(gap) => ("overwritten", Some(gap)),
        AuditFinding::Changed(gap) => ("changed", Some(gap)),
        AuditFinding::NotHeld(gap) => ("not_held", Some(gap)),
        _ => ("other", None),
    };
    json!({ "kind": kind, "message": message, "limit": gap.map(gap_json) })
}

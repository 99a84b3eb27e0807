//! One refusal explains itself: the command that its caller is told is run, and has to name the cause.

use std::time::Duration;

use tokio::process::Command;

use super::Run;
use crate::facts::{Explained, Refusal};

/// Much longer than it takes.
const PATIENCE: Duration = Duration::from_secs(10);

impl Run<'_> {
    /// Asks `avouch` why a call was refused, as the caller's line `told` says it should be asked.
    pub(super) async fn explain(&self, refusal: &Refusal, told: &str) -> Option<Explained> {
        let decision = refusal.record.as_deref().unwrap_or_default();
        let command = format!("avouch explain {decision}");
        let seen = match self.ask(decision).await {
            Ok(answer) => {
                let missing = [
                    ("what its caller was told", told, command.as_str()),
                    ("who was refused", &answer, refusal.caller.as_str()),
                    ("the reason", &answer, refusal.expected.as_str()),
                    ("the role", &answer, "charger"),
                    ("the policy\u{2019}s place", &answer, "policy.toml:"),
                ];
                let missing = missing.iter().find(|(_, text, part)| !text.contains(part));
                match missing {
                    None => Ok(answer),
                    Some((what, text, part)) => Err(format!("{what}: there is no `{part}` in\n{text}")),
                }
            }
            Err(error) => Err(error),
        };
        let explained = seen.as_ref().ok().map(|answer| Explained {
            told: told.to_owned(),
            command: command.clone(),
            answer: answer.clone(),
        });
        let claim = "the refused caller is told a command, and that command names the cause and the fix";
        self.checks.note(claim, seen.map(|_| command));
        explained
    }

    async fn ask(&self, decision: &str) -> Result<String, String> {
        let mut avouch = Command::new(self.market.paths.bin.join("avouch"));
        avouch
            .arg("--socket")
            .arg(self.market.paths.socket())
            .args(["explain", decision])
            .env_remove("AVOUCH_IDENTITY")
            .kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, avouch.output());
        let output = output.await.map_err(|_| format!("no answer within {PATIENCE:?}"))?;
        let output = output.map_err(|error| format!("avouch cannot be run: {error}"))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.success() {
            true => Ok(said),
            false => Err(format!("{}: {said}{}", output.status, String::from_utf8_lossy(&output.stderr))),
        }
    }
}

//! What Upstash does to scripts: `allow-key-locking` is a flag it knows, and holds the script to its promise.

use std::collections::HashMap;

use redis::Value;

use super::commands::{Command, error};

const SHEBANG: &str = "#!lua flags=allow-key-locking";

/// Stands before the script, in its first line: `redis` becomes one whose calls look at the keys first.
const GUARD: &str = concat!(
    "local redis = (function(real) ",
    "local declared = {} for _, key in ipairs(KEYS) do declared[key] = true end ",
    "local function refused(...) ",
    "local keys = real.pcall('COMMAND', 'GETKEYS', ...) ",
    // A command without keys is an error here.
    "if type(keys) ~= 'table' or keys.err then return nil end ",
    "for _, key in ipairs(keys) do if not declared[key] then return ",
    "{ err = \"ERR Dynamic keys are not allowed in Lua scripts when 'allow-key-locking' flag is set\" } end end end ",
    "return setmetatable({ ",
    "call = function(...) local no = refused(...) if no then error(no) end return real.call(...) end, ",
    "pcall = function(...) return refused(...) or real.pcall(...) end ",
    "}, { __index = real }) end)(redis) ",
);

/// The scripts that were sent as text: digest of what was sent, and digest of what Redis got.
#[derive(Default)]
pub(super) struct Scripts(HashMap<String, String>);

impl Scripts {
    /// A command as Redis takes it.
    pub(super) fn translate(&mut self, Command(mut args): Command) -> Result<Command, Value> {
        let name = String::from_utf8_lossy(&args[0]).to_uppercase();
        match name.as_str() {
            "EVAL" | "EVAL_RO" if args.len() > 1 => args[1] = self.learn(&args[1]),
            "SCRIPT" if args.len() > 2 && args[1].eq_ignore_ascii_case(b"load") => args[2] = self.learn(&args[2]),
            "EVALSHA" | "EVALSHA_RO" if args.len() > 1 => {
                let digest = String::from_utf8_lossy(&args[1]).to_lowercase();
                match self.0.get(&digest) {
                    Some(ours) => args[1] = ours.clone().into_bytes(),
                    None => return Err(error("NOSCRIPT No matching script. Please use EVAL.")),
                }
            }
            _ => {}
        }
        Ok(Command(args))
    }

    fn learn(&mut self, sent: &[u8]) -> Vec<u8> {
        let sent = String::from_utf8_lossy(sent).into_owned();
        let ours = match sent.trim_start().strip_prefix(SHEBANG) {
            Some(rest) => format!("{GUARD}{rest}"),
            None => sent.clone(),
        };
        let digest = |code: &str| redis::Script::new(code).get_hash().to_owned();
        self.0.insert(digest(&sent), digest(&ours));
        ours.into_bytes()
    }
}

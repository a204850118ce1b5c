//! Rate limits in Redis: one script an algorithm, any number of limits, one round trip.

use std::time::Duration;

use super::operations::millis;
use super::script::{
    FIXED_WINDOW, FIXED_WINDOW_LOGIN, LOGIN_KNOWN, SLIDING_WINDOW, SLIDING_WINDOW_LOGIN, Script, TOKEN_BUCKET, TOKEN_BUCKET_LOGIN,
};
use super::{Key, Redis};
use crate::config::RateLimitAlgorithm;
use crate::domain::StoreUnavailable;

/// The script of an algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimitScript(RateLimitAlgorithm);

/// What a script says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    /// Whether the request may pass.
    pub allowed: bool,
    /// Place of the limit that refused, or else of the one that has least left.
    pub tightest: usize,
    /// What is left of it.
    pub remaining: u64,
    /// Time until it is whole again.
    pub reset_after: Duration,
    /// Time until such a request may pass.
    pub retry_after: Duration,
}

/// An account that somebody tries to log in to, and the network from which: digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownLogin {
    /// Of the account.
    pub account: [u8; 16],
    /// Of the network.
    pub network: [u8; 8],
}

impl RateLimitScript {
    /// The script of `algorithm`.
    #[must_use]
    pub const fn of(algorithm: RateLimitAlgorithm) -> Self {
        Self(algorithm)
    }

    fn script(self) -> &'static Script {
        match self.0 {
            RateLimitAlgorithm::FixedWindow => &FIXED_WINDOW,
            RateLimitAlgorithm::SlidingWindow => &SLIDING_WINDOW,
            RateLimitAlgorithm::TokenBucket => &TOKEN_BUCKET,
        }
    }

    /// The script that counts attempts to log in.
    fn login_script(self) -> &'static Script {
        match self.0 {
            RateLimitAlgorithm::FixedWindow => &FIXED_WINDOW_LOGIN,
            RateLimitAlgorithm::SlidingWindow => &SLIDING_WINDOW_LOGIN,
            RateLimitAlgorithm::TokenBucket => &TOKEN_BUCKET_LOGIN,
        }
    }

    /// Whether the script needs to know the time.
    const fn keeps_time(self) -> bool {
        !matches!(self.0, RateLimitAlgorithm::FixedWindow)
    }

    /// The key that the script keeps its kind of value under: after a change of algorithm all begin afresh. The plain key is the
    /// specification's counter.
    fn key(self, key: Key) -> Key {
        match self.0 {
            RateLimitAlgorithm::FixedWindow => key,
            RateLimitAlgorithm::SlidingWindow => key.with_suffix(":sliding_window"),
            RateLimitAlgorithm::TokenBucket => key.with_suffix(":token_bucket"),
        }
    }
}

impl Redis {
    /// Takes `cost` from the limits under `keys`, all or none. Each limit is two numbers, as the script's header has them. With `login`, the
    /// last limit is that of its account, and is counted by itself for a network that the account was signed in from before.
    ///
    /// # Errors
    /// [`StoreUnavailable`]; the cost may or may not have been taken.
    pub async fn take(
        &self,
        script: RateLimitScript,
        limits: impl Iterator<Item = (Key, [u64; 2])> + Send,
        cost: u64,
        login: Option<KnownLogin>,
    ) -> Result<Limited, StoreUnavailable> {
        let mut call = match login {
            Some(_) => script.login_script().prepare_invoke(),
            None => script.script().prepare_invoke(),
        };
        if let Some(login) = login {
            call.arg(hex::encode(login.network));
        }
        call.arg(cost);
        for (key, numbers) in limits {
            call.key(script.key(key)).arg(&numbers);
        }
        if let Some(login) = login {
            call.key(Key::rate_limit_login_known(login.account));
            call.key(script.key(Key::rate_limit_login_from(login.account, login.network)));
        }
        let (allowed, place, remaining, reset, retry): (u64, usize, u64, u64, u64) = self
            .run(async |link| {
                if script.keeps_time() {
                    call.arg(self.time(link).await?);
                }
                call.invoke_async(link).await
            })
            .await?;
        Ok(Limited {
            allowed: allowed == 1,
            tightest: place.saturating_sub(1),
            remaining,
            reset_after: Duration::from_millis(reset),
            retry_after: Duration::from_millis(retry),
        })
    }

    /// Remembers for `life` that the account was signed in from the network, which is one of `most` then.
    ///
    /// # Errors
    /// [`StoreUnavailable`].
    pub async fn remember_login(&self, login: KnownLogin, most: usize, life: Duration) -> Result<(), StoreUnavailable> {
        let mut call = LOGIN_KNOWN.prepare_invoke();
        call.key(Key::rate_limit_login_known(login.account));
        call.arg(hex::encode(login.network)).arg(most).arg(millis(life));
        self.run(async |link| call.invoke_async::<u64>(link).await).await?;
        Ok(())
    }
}

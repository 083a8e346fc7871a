//! The flow's own minting, without a request, a worker and a mail.

use crate::account::{Account, Address};
use crate::flow::ResetFlow;
use crate::store::Insert;
use crate::token::LinkToken;

/// Mints a token for this account and stores its record, exactly as the worker does before it
/// mails. `None` when the generator or the store failed, or the account has no place left.
///
/// For benches, and for tests that need many tokens. Nothing is checked: neither limits, nor
/// whether the account may have a token at all.
///
/// # Security
///
/// Skips the mail, which is the one proof that whoever holds the token owns the address. An
/// application that hands out tokens this way hands out accounts.
pub async fn issue(flow: &ResetFlow, account: &Account, address: &Address) -> Option<LinkToken> {
    let (token, _, inserted) = flow.issue_link(account, address).await.ok()?;
    (inserted == Insert::Done).then_some(token)
}

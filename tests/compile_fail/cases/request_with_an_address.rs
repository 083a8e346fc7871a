//! W4: a request takes one identifier; there is no place for an address to send to.
use password_reset::ResetFlow;
use password_reset::account::{Address, Client, Identifier};

async fn elsewhere(flow: ResetFlow, who: Identifier, to: Address, client: Client) {
    let _ = flow.request(&who, &to, &client).await;
}

fn main() {}

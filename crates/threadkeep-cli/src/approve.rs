//! `threadkeep approve`: decide about a tool call that waits.

use anyhow::{anyhow, bail};
use clap::ArgGroup;
use durable_stream::{Live, Offset};
use futures::TryStreamExt;
use session_protocol::api::AnswerApproval;
use session_protocol::{Approval, ApprovalOption, ApprovalStatus, SessionFold};
use uuid::Uuid;

use crate::foreign::clean;
use crate::remote::{Remote, ServerArgs};

/// Approve or deny a tool call that waits.
///
/// An agent that wants to use a tool which needs permission waits until somebody decides; then it
/// goes on. `threadkeep tail` shows what waits, with its id.
#[derive(clap::Args)]
#[command(
    override_usage = "threadkeep approve [OPTIONS] <SESSION> <APPROVAL_ID|--first>",
    group = ArgGroup::new("which").required(true).args(["approval_id", "first"]),
    after_long_help = "Examples:\n  \
    threadkeep approve first-steps --first\n  \
    threadkeep approve first-steps approval_call_7 --deny\n  \
    threadkeep approve first-steps --first --option allow_always\n\n\
    Environment:\n  \
    THREADKEEP_TOKEN  the server's token, if it asks for one"
)]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,

    /// The session's name.
    session: String,

    /// The approval's id, as `tail` shows it.
    approval_id: Option<String>,

    /// Decide about the one that waits longest.
    #[arg(long)]
    first: bool,

    /// Say no instead of yes.
    #[arg(long)]
    deny: bool,

    /// Choose this one of the answers that the agent offers, as `tail` shows them.
    ///
    /// Without it a yes or a no is for this time only.
    #[arg(long, value_name = "OPTION", conflicts_with = "deny")]
    option: Option<String>,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let remote = Remote::new(args.server, &args.session)?;
    remote.check().await?;
    let session = read(&remote).await?;
    let approval = match &args.approval_id {
        Some(id) => find(&session, id)?,
        None => {
            session.pending_approvals(jiff::Timestamp::now()).into_iter().next().ok_or_else(
                || anyhow!("nothing waits for an approval in session {}", args.session),
            )?
        }
    };
    let option = chosen(&approval, args.option.as_deref(), !args.deny)?;
    let approved = option.map_or(!args.deny, ApprovalOption::allows);
    let body = AnswerApproval {
        approved,
        payload: None,
        option_id: option.map(|option| option.option_id.clone()),
        message_id: Some(approval.message_id.clone()),
        actor_id: None,
        txid: Some(Uuid::new_v4().to_string()),
    };
    let answer = remote.client().answer_approval(remote.session(), &approval.id, &body).await;
    remote.granted(answer)?;
    let word = if approved { "Approved" } else { "Denied" };
    let how = option.map(|option| format!(": {}", clean(&option.name))).unwrap_or_default();
    println!("{word} {} ({}){how}", clean(&approval.tool_name), clean(&approval.id));
    Ok(())
}

/// The option that is meant; `None` where the agent offers none, or none for a plain no.
fn chosen<'a>(
    approval: &'a Approval,
    named: Option<&str>,
    approved: bool,
) -> anyhow::Result<Option<&'a ApprovalOption>> {
    let options = approval.options.as_deref().unwrap_or_default();
    let names = || {
        let names = options
            .iter()
            .map(|option| format!("{} ({})", clean(&option.option_id), clean(&option.name)));
        names.collect::<Vec<_>>().join(", ")
    };
    let Some(named) = named else {
        let plain = ApprovalOption::plain(options, approved);
        if plain.is_none() && approved && approval.options.is_some() {
            bail!("the agent offers no yes for this time only; choose with --option: {}", names());
        }
        return Ok(plain);
    };
    match options.iter().find(|option| option.option_id == named) {
        Some(option) => Ok(Some(option)),
        None if options.is_empty() => {
            bail!("{} offers no options; leave --option out", approval.id)
        }
        None => bail!("there is no option {named}; choose one of: {}", names()),
    }
}

fn find(session: &SessionFold, id: &str) -> anyhow::Result<Approval> {
    let pending = session
        .pending_approvals(jiff::Timestamp::now())
        .into_iter()
        .rfind(|approval| approval.id == id);
    let Some(approval) = pending.or_else(|| session.approval(id, None)) else {
        let waiting: Vec<String> = session
            .pending_approvals(jiff::Timestamp::now())
            .into_iter()
            .map(|approval| clean(&approval.id))
            .collect();
        match waiting.as_slice() {
            [] => bail!("there is no approval {id}, and nothing waits"),
            ids => bail!("there is no approval {id}; waiting: {}", ids.join(", ")),
        }
    };
    match approval.status {
        ApprovalStatus::Pending => Ok(approval),
        ApprovalStatus::Approved => bail!("{id} was approved already"),
        ApprovalStatus::Denied => match approval.reason.as_deref() {
            Some("lapsed") => bail!(
                "{id} has lapsed: the agent that asked is gone, and nothing was done. Send a message to go on"
            ),
            Some("cancelled") => bail!("{id} was withdrawn, and nothing was done"),
            _ => bail!("{id} was denied already"),
        },
    }
}

/// The session as it is now.
async fn read(remote: &Remote) -> anyhow::Result<SessionFold> {
    let mut fold = SessionFold::new(remote.session());
    let mut batches = remote.stream().follow(Offset::Beginning, Live::No);
    while let Some(batch) =
        remote.in_time(batches.try_next()).await?.map_err(|error| remote.stream_error(&error))?
    {
        fold.apply(&batch.items, &mut ());
    }
    Ok(fold)
}

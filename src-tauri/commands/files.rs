//! Files that leave a session.

use crate::error::{CommandError, CommandResult};
use tauri::Manager as _;

/// Writes a file of a message into the person's folder for downloads. Returns where it is.
#[tauri::command]
pub(crate) async fn save_file(
    app: tauri::AppHandle,
    name: String,
    bytes: Vec<u8>,
) -> CommandResult<String> {
    let refused = |_| {
        let why = "The file could not be saved in your folder for downloads. Check that it is there and not full.";
        CommandError::new("file-not-saved", why)
    };
    let folder = app.path().download_dir().map_err(|error| refused(error.to_string()))?;
    let path = crate::files::save_new(&folder, &name, &bytes);
    Ok(path.map_err(|error| refused(error.to_string()))?.display().to_string())
}

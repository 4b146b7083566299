//! Writes manual pages and shell completions of `cumo-export` into a folder: what packages with it
//! ship. Not part of `cumo-export`, which would be larger for it.
//!
//! ```sh
//! cargo run --package cumo-export --example exporter_manual -- FOLDER
//! ```

#[allow(dead_code, unreachable_pub, reason = "what is typed is described, not taken")]
#[path = "../src/cli.rs"]
mod cli;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;
use cli::Cli;

fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).context("usage: exporter_manual FOLDER")?;
    let folder = Path::new(&folder);
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let command = Cli::command();
    clap_mangen::generate_to(command.clone(), folder).context("manual pages")?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command.clone(), "cumo-export", folder)
            .with_context(|| format!("completions for {shell}"))?;
    }
    Ok(())
}

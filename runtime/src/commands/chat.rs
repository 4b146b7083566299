pub(crate) fn run(_: &crate::cli::ChatArgs) -> anyhow::Result<std::process::ExitCode> {
    todo!()
}

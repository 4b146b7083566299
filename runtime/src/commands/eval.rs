pub(crate) fn run(_: &crate::cli::EvalArgs) -> anyhow::Result<std::process::ExitCode> {
    todo!()
}

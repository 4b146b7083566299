pub(crate) fn run(_: &crate::cli::DoctorArgs) -> anyhow::Result<std::process::ExitCode> {
    todo!()
}

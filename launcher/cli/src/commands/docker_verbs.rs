//! Docker's verbs that `launch` does not have, each with an alternative. Without this list, `launch build .` would look
//! for an image named build.

/// The verbs and the alternatives.
pub(crate) const VERBS: [(&str, &str); 34] = [
    ("build", BUILD),
    ("builder", BUILD),
    ("buildx", BUILD),
    ("checkpoint", "`xl save` and `xl restore` save and restore a running domain"),
    (
        "commit",
        "the writable layer of an app cannot become an image; build one with docker or podman",
    ),
    ("compose", "compose files need a container engine; start each app with `launch run`"),
    ("container", "use its verbs alone: `launch ps`, `launch rm`, `launch logs`, …"),
    ("context", "launch works on this machine only"),
    ("diff", "the writable layer is a disk of the app, and dom0 cannot list its files"),
    (
        "events",
        "`launch wait` waits for an app's end, and `xenstore-watch` shows domains come and go",
    ),
    ("export", "`launch image convert` writes the disk of an image"),
    (
        "history",
        "layers are merged when an image is converted; `launch image inspect` shows its config",
    ),
    ("import", "`launch run rootfs:FILE` starts a tar of a root file system"),
    (
        "info",
        "`xl info` describes this machine, `launch ps -a` lists its apps, `launch images` its images",
    ),
    ("load", "`launch pull docker-archive:FILE` reads what `docker save` wrote"),
    (
        "login",
        "credentials are read from ~/.docker/config.json and podman's auth.json; write them with `docker login` or `podman login`",
    ),
    ("logout", "credentials are read from ~/.docker/config.json"),
    ("manifest", "create and push manifests with docker or podman"),
    ("network", "--network takes default, none, or bridge=NAME for your own bridge"),
    ("node", SWARM),
    ("plugin", "there are no plugins"),
    ("push", "push images with docker, podman or skopeo"),
    ("save", "images are kept as guest disks; save them with docker, podman or skopeo"),
    ("search", "search on the registry's own pages"),
    ("secret", SWARM),
    ("service", SWARM),
    ("stack", SWARM),
    ("swarm", SWARM),
    (
        "system",
        "`launch image prune` frees space, `launch ps -a` and `launch images` list apps and images",
    ),
    ("tag", "an image keeps the name that it was pulled by"),
    (
        "top",
        "only the guest knows its processes; use `launch exec APP ps`, or `xl top` for domains",
    ),
    ("trust", "signatures are not checked; name images by digest"),
    ("version", "`launch --version` prints it"),
    ("volume", "volumes are not supported yet; what an app writes is kept until `launch rm`"),
];

const BUILD: &str = "build images with docker, podman or buildah, and start them with \
    `launch run docker-archive:FILE` or `oci:DIR`";
const SWARM: &str = "launch works on one machine only, without clusters";

/// The answer to a user who types one of these verbs.
pub(crate) fn answer(verb: &str) -> Option<String> {
    let (_, instead) = VERBS.iter().find(|(known, _)| *known == verb)?;
    Some(format!(
        "there is no `launch {verb}`: {instead} (for an image of this name: `launch run {verb}`)"
    ))
}

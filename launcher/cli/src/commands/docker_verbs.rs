//! Docker's verbs that `launch` does not have, each with what to do instead. Without this `launch build .`
//! would look for an image named build.

/// Each with what to do instead.
pub(crate) const VERBS: [(&str, &str); 34] = [
    ("build", BUILD),
    ("builder", BUILD),
    ("buildx", BUILD),
    ("checkpoint", "`xl save` and `xl restore` keep a domain as it runs"),
    (
        "commit",
        "the writable layer of an app cannot become an image; build one with docker or podman",
    ),
    ("compose", "compose files are for engines; start each app with `launch run`"),
    ("container", "its verbs stand for themselves: `launch ps`, `launch rm`, `launch logs`, …"),
    ("context", "launch works on this machine only"),
    ("diff", "the writable layer is a disk of the app's; it cannot be listed from here"),
    (
        "events",
        "`launch wait` waits for an app's end, and `xenstore-watch` sees domains come and go",
    ),
    ("export", "the disk of an image is what `launch image convert` writes"),
    (
        "history",
        "layers are merged when an image is converted; `launch image inspect` shows its config",
    ),
    ("import", "`launch run rootfs:FILE` starts a tar of a root file system"),
    (
        "info",
        "`xl info` tells of this machine, `launch ps -a` and `launch images` of what is on it",
    ),
    ("load", "`launch pull docker-archive:FILE` takes what `docker save` wrote"),
    (
        "login",
        "credentials are read from ~/.docker/config.json and podman's auth.json; `docker login` or `podman login` write them",
    ),
    ("logout", "credentials are read from ~/.docker/config.json"),
    ("manifest", "make and push manifests with docker or podman"),
    ("network", "--network takes default, none, or bridge=NAME for a bridge of yours"),
    ("node", SWARM),
    ("plugin", "there are no plugins"),
    ("push", "push images with docker, podman or skopeo"),
    ("save", "images are kept as guest disks; save them with docker, podman or skopeo"),
    ("search", "search the registry's own pages"),
    ("secret", SWARM),
    ("service", SWARM),
    ("stack", SWARM),
    ("swarm", SWARM),
    (
        "system",
        "`launch image prune` makes room, `launch ps -a` and `launch images` show what there is",
    ),
    ("tag", "an image has the name that it was pulled by"),
    ("top", "processes are the guest's own; `xl top` shows domains"),
    ("trust", "signatures are not checked; name images by digest"),
    ("version", "`launch --version` tells it"),
    ("volume", "volumes are not there yet; what an app writes is kept until `launch rm`"),
];

const BUILD: &str = "build images with docker, podman or buildah, and start them with \
    `launch run docker-archive:FILE` or `oci:DIR`";
const SWARM: &str = "launch works on one machine; clusters are for engines";

/// The answer to a user who asks for one of them.
pub(crate) fn answer(verb: &str) -> Option<String> {
    let (_, instead) = VERBS.iter().find(|(known, _)| *known == verb)?;
    Some(format!(
        "there is no `launch {verb}`: {instead} (an image of this name: `launch run {verb}`)"
    ))
}

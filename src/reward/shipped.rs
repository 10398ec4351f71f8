//! The reward model that comes with the program.

use std::path::{Path, PathBuf};

use super::RewardError;

/// Name of the reward model that comes with the program, for every place that takes a folder of one.
///
/// It reads principles in plain English, on SmolLM2-135M-Instruct. Its card is in `reward-models/` of the
/// repository. It is there with the feature `shipped-reward`, which `cli` contains.
pub const SHIPPED: &str = "smollm2-principles";

/// The folder of a reward model. [`SHIPPED`] is a name; its files are copied to the cache at the first use.
/// Everything else is a path and stays as it is. For a folder of that name write `./smollm2-principles`.
///
/// ```
/// use std::path::Path;
///
/// let own = parr::reward::resolve(Path::new("runs/reward"))?;
/// assert_eq!(own, Path::new("runs/reward"));
/// # Ok::<(), parr::reward::RewardError>(())
/// ```
///
/// # Errors
///
/// [`RewardError::Io`] if the files cannot be written to the cache ([`cache::directory`]).
///
/// [`cache::directory`]: crate::cache::directory
pub fn resolve(name: &Path) -> Result<PathBuf, RewardError> {
    if name == Path::new(SHIPPED) {
        #[cfg(feature = "shipped-reward")]
        return embedded::unpack();
    }
    Ok(name.to_owned())
}

#[cfg(feature = "shipped-reward")]
mod embedded {
    use std::io::ErrorKind;
    use std::path::PathBuf;
    use std::{fs, io};

    use sha2::{Digest, Sha256};

    use super::SHIPPED;
    use crate::file::{AtFile, hex};
    use crate::reward::RewardError;
    use crate::{atomic, cache};

    macro_rules! files {
        ($($name:literal),+) => {
            [$(($name, include_bytes!(concat!("../../reward-models/smollm2-principles/", $name)))),+]
        };
    }

    static FILES: [(&str, &[u8]); 4] =
        files!("adapter_config.json", "adapter_model.safetensors", "reward_head.safetensors", "parr.json");

    /// Copies the files to a folder of the cache, unless they are there. Its name has their hash, so versions of
    /// the program do not replace each other's.
    pub fn unpack() -> Result<PathBuf, RewardError> {
        let mut hash = Sha256::new();
        FILES.iter().for_each(|(_, bytes)| hash.update(bytes));
        let folder = format!("{SHIPPED}-{}", &hex(hash.finalize())[..8]);
        let no_home = || io::Error::new(ErrorKind::NotFound, "there is no home directory; set PARR_CACHE");
        let cache = cache::directory().ok_or_else(no_home).map_err(RewardError::io("find", "the cache"))?;
        let folder = cache.join("reward-models").join(folder);
        let is_there = |(name, bytes): &(&str, &[u8])| {
            fs::read(folder.join(name)).is_ok_and(|found| found.as_slice() == *bytes)
        };
        if FILES.iter().all(is_there) {
            return Ok(folder);
        }
        let parent = folder.parent().expect("it is in the cache");
        fs::create_dir_all(parent).map_err(RewardError::io("create", parent))?;
        let fill = |folder: &std::path::Path| {
            FILES.iter().try_for_each(|(name, bytes)| fs::write(folder.join(name), bytes))
        };
        let written = atomic::write_directory(&folder, true, fill);
        // Another process may have written it at the same time.
        if FILES.iter().all(is_there) {
            return Ok(folder);
        }
        written.map_err(RewardError::io("write", &folder))?;
        Ok(folder)
    }
}

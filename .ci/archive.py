"""Write an archive of the committed checkout and its report, or verify an archive.

python .ci/archive.py [ARCHIVE]

With an argument, the script prints in one line how the archive differs from its written
state. The archive is an RO-Crate: a zip file with ro-crate-metadata.json, which names
each file and its SHA-256 hash. The same commit and report give the same bytes.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

FOLDER = Path("build/archive")
REPORT = "build/report.html"
CRATE = "ro-crate-metadata.json"
DESCRIPTIONS = {
    "README.md": "An introduction, and the two commands that reproduce the results",
    "notebooks": "The executed notebooks",
    "figures": "The stored figures",
    "figures/numbers": "The stored numbers, with tolerances and guards",
    "figures/claims.json": (
        "The claims of the paper, with thresholds, reasons, controls and verdicts"
    ),
    "paperlib": "The library",
    "paperlib/companion/pretrained": "The trained networks, and their manifest",
    "tests": "The tests",
    "requirements.txt": "The environment: every package, with its hash",
    REPORT: "The report of the archived reproduction",
}


# `write` imports its own dependencies, so that verifying an archive needs only the
# standard library.
def write():
    """Write the archive of the checkout in the current folder, and return its path."""
    import metadata
    from release import git

    if not Path(".git").exists():
        sys.exit("No archive: must be run in a git checkout.")
    if git("status", "--porcelain"):
        sys.exit("No archive: the checkout has changes; commit them first.")
    if not Path(REPORT).exists():
        sys.exit(f"No archive: {REPORT} is missing; run make reproduce first.")
    if reason := metadata.disagreement(Path()):
        sys.exit(f"No archive: {reason}.")
    names = sorted([*git("ls-files").splitlines(), REPORT])
    contents = {name: Path(name).read_bytes() for name in names}
    about = metadata.citation(Path())
    contents[CRATE] = described(contents, about)
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"neural-born-series-{about['version']}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            # dated 1980, so that the time of the checkout does not change the bytes
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if os.access(name, os.X_OK) else 0o644) << 16
            archive.writestr(entry, content)
    return path


def described(contents, about):
    """Return the metadata of the crate as JSON.

    `contents` maps the names of files to their bytes, and `about` is the content of
    CITATION.cff. The metadata describe the files with their hashes, the folders in
    DESCRIPTIONS, and the paper.
    """
    from release import git
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

    paper = about["preferred-citation"]
    crate = ROCrate()
    crate.name = about["title"]
    crate.description = about["abstract"]
    crate.keywords = about["keywords"]
    crate.license = f"https://spdx.org/licenses/{about['license']}"
    crate.datePublished = git("log", "-1", "--format=%cI")
    crate.root_dataset["version"] = about["version"]
    crate.root_dataset["identifier"] = f"git commit {git('rev-parse', 'HEAD')}"
    makers = {"@type": "Organization", "name": about["authors"][0]["name"]}
    crate.root_dataset["author"] = crate.add(
        ContextEntity(crate, "#authors", properties=makers)
    )
    article = {"@type": "ScholarlyArticle", "name": paper["title"]}
    crate.root_dataset["citation"] = crate.add(
        ContextEntity(crate, f"https://doi.org/{paper['doi']}", properties=article)
    )
    for name, content in contents.items():
        properties = {"sha256": hashlib.sha256(content).hexdigest()}
        if name in DESCRIPTIONS:
            properties["description"] = DESCRIPTIONS[name]
        crate.add_file(name, name, properties=properties)
    for name in DESCRIPTIONS.keys() - contents.keys():
        crate.add_directory(name, name, properties={"description": DESCRIPTIONS[name]})
    return json.dumps(
        crate.metadata.generate(), indent=1, ensure_ascii=False, sort_keys=True
    ).encode()


def difference(path):
    """Return in one line how an archive differs from its written state, or None."""
    try:
        with zipfile.ZipFile(path) as archive:
            entities = json.loads(archive.read(CRATE))["@graph"]
            written = {
                entity["@id"]: entity["sha256"]
                for entity in entities
                if "sha256" in entity
            }
            present = {
                name: hashlib.sha256(archive.read(name)).hexdigest()
                for name in archive.namelist()
                if name != CRATE
            }
    except Exception as error:  # a damaged zip raises errors of about a dozen types
        return f"{path}: must be a readable archive ({' '.join(str(error).split())})"
    for name in sorted(written | present):
        if name not in present:
            return f"{path}: {name} is missing"
        if name not in written:
            return f"{path}: {name} was added"
        if written[name] != present[name]:
            return f"{path}: {name} was changed"
    return None


def reproduce(path):
    """Run the first command of the README in a folder with only the archive's files."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.unpack_archive(path, folder)
        if subprocess.run(["make", "reproduce"], cwd=folder).returncode:
            sys.exit(f"{path}: its content does not reproduce the results; see above")


def main(arguments):
    """Verify the archive that is named, or write one and reproduce from it."""
    path = Path(arguments[0]) if arguments else write()
    if reason := difference(path):
        sys.exit(reason)
    print(
        f"{path}: unchanged since it was written, {path.stat().st_size / 2**20:.1f} MiB"
    )
    if not arguments:
        reproduce(path)


if __name__ == "__main__":
    main(sys.argv[1:])

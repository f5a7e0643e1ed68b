"""Write an archive of the committed checkout and its report, or say in a line what in one is not as it was written:

python .ci/archive.py [ARCHIVE]

The archive is an RO-Crate: a zip with ro-crate-metadata.json, which names each file and its SHA-256. The same commit and report
make the same bytes.
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
    "README.md": "What this is, and the two commands that reproduce it",
    "notebooks": "The notebooks, as executed",
    "figures": "The stored figures",
    "figures/numbers": "The stored numbers, with tolerances and bounds",
    "figures/claims.json": "The claims of the paper, the numbers that decide them, and the verdicts",
    "paperlib": "The library",
    "paperlib/companion/reference": "The trained networks, and their manifest",
    "tests": "The tests",
    "requirements.txt": "The environment: every package, with its hash",
    REPORT: "The report of the reproduction that was archived",
}


# What only a writer needs is imported there: to look into an archive, Python is enough.
def write():
    import metadata
    from release import git

    if not Path(".git").exists():
        sys.exit("No archive: it is written of a checkout, and here is none.")
    if git("status", "--porcelain"):
        sys.exit("No archive: the tree has changes; commit them first.")
    if not Path(REPORT).exists():
        sys.exit(f"No archive: there is no {REPORT}; run make reproduce first.")
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
            entry = zipfile.ZipInfo(name)  # of 1980: when a file was checked out is nobody's concern
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if os.access(name, os.X_OK) else 0o644) << 16
            archive.writestr(entry, content)
    return path


def described(contents, about):
    """The crate's metadata: the files with their hashes, the folders that have something to say, and the paper."""
    from release import git
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

    paper = about["preferred-citation"]
    crate = ROCrate()
    crate.name, crate.description, crate.keywords = about["title"], about["abstract"], about["keywords"]
    crate.license = f"https://spdx.org/licenses/{about['license']}"
    crate.datePublished = git("log", "-1", "--format=%cI")
    crate.root_dataset["version"] = about["version"]
    crate.root_dataset["identifier"] = f"git commit {git('rev-parse', 'HEAD')}"
    makers = {"@type": "Organization", "name": about["authors"][0]["name"]}
    crate.root_dataset["author"] = crate.add(ContextEntity(crate, "#authors", properties=makers))
    article = {"@type": "ScholarlyArticle", "name": paper["title"]}
    crate.root_dataset["citation"] = crate.add(
        ContextEntity(crate, f"https://doi.org/{paper['doi']}", properties=article)
    )
    for name, content in contents.items():
        told = {"description": DESCRIPTIONS[name]} if name in DESCRIPTIONS else {}
        crate.add_file(name, name, properties={"sha256": hashlib.sha256(content).hexdigest(), **told})
    for name in DESCRIPTIONS.keys() - contents.keys():
        crate.add_directory(name, name, properties={"description": DESCRIPTIONS[name]})
    return json.dumps(crate.metadata.generate(), indent=1, ensure_ascii=False, sort_keys=True).encode()


def difference(path):
    """In a line, what in an archive is not as it was written; None where all is."""
    try:
        with zipfile.ZipFile(path) as archive:
            entities = json.loads(archive.read(CRATE))["@graph"]
            named = {entity["@id"]: entity["sha256"] for entity in entities if "sha256" in entity}
            held = {
                name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist() if name != CRATE
            }
    except Exception as error:  # a damaged zip raises one of a dozen types
        return f"{path}: no archive that can be read ({' '.join(str(error).split())})"
    for name in sorted(named | held):
        if named.get(name) != held.get(name):
            return f"{path}: {name} {'is missing' if name not in held else 'was changed' if name in named else 'was added'}"


def reproduce(path):
    """Run the README's first command where nothing but the archive is."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.unpack_archive(path, folder)
        if subprocess.run(["make", "reproduce"], cwd=folder).returncode:
            sys.exit(f"{path}: what it holds does not reproduce; see above")


def main(given):
    path = Path(given[0]) if given else write()
    if reason := difference(path):
        sys.exit(reason)
    print(f"{path}: as it was written, {path.stat().st_size / 2**20:.1f} MiB")
    if not given:
        reproduce(path)


if __name__ == "__main__":
    main(sys.argv[1:])

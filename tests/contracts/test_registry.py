"""Registries of plug-ins."""

from sltoolkit.contracts.registry import plugins_in


def kind(name: str, module: str) -> type:
    return type(name, (), {"__module__": module})


def test_what_is_imported_from_the_packages_files_is_registered_by_their_names() -> None:
    near, far = kind("Near", "pack.folder.near"), kind("Far", "pack.far")
    names = {
        "__name__": "pack", "Near": near, "Far": far, "Base": kind("Base", "other.base"),
        "Own": kind("Own", "pack"), "Alike": kind("Alike", "package.alike"), "helper": len,
    }  # fmt: skip
    assert plugins_in(names) == {"far": far, "near": near}
    assert list(plugins_in(names)) == ["far", "near"]

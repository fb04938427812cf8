from mmfeat.store.differences import describe_differences


def test_differing_digests_are_said_in_words():
    old = {"systems": {"gmu": "a" * 64}, "features": {"config_hash": "a" * 64}, "seeds": 5}
    new = {"systems": {"gmu": "b" * 64}, "features": {"config_hash": "b" * 64}, "seeds": 2}
    assert describe_differences(old, new).split("; ") == [
        "--seeds was 5, is 2 now",
        "the features are of other shards (features.config_hash)",
        "the model gmu has other features or options (systems.gmu)",
    ]


def test_long_values_are_cut():
    text = describe_differences({"files": ["a" * 9] * 99}, {"files": []})
    assert len(text) < 200
    assert text.endswith("…, is [] now")


def test_flags_come_first_and_have_their_names():
    old = {
        "classes": ["a", "b"],
        "deviation": 1.5,
        "mean": 2.0,
        "source": {"columns": {"image": "front"}, "sha256": "a" * 64},
        "resize": {"size": 0},
        "lr": [0.1],
    }
    new = {
        "classes": ["a"],
        "deviation": 2.5,
        "mean": 3.0,
        "source": {"columns": {"image": "front", "image.back": "back"}, "sha256": "b" * 64},
        "resize": {"size": 9},
        "lr": [0.2],
    }
    assert describe_differences(old, new).split("; ") == [
        "--lr was [0.1], is [0.2] now",
        "--resize was 0, is 9 now",
        "--image-column back was None, is 'back' now",
        "the input has other content (source.sha256)",
        "classes was ['a', 'b'], is ['a'] now",
        "and 2 more",
    ]


def test_a_file_of_keys_is_a_flag():
    old, new = {"selection": {"keys_sha256": ""}}, {"selection": {"keys_sha256": "a" * 64}}
    assert (
        describe_differences(old, new)
        == "the file of --keys has other content (selection.keys_sha256)"
    )

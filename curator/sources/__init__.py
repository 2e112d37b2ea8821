"""Reading shards: tars, and folders of images that stand for one."""

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* registry.c - the commands. */
#include "tools/img/img.h"

extern const struct img_command img_amend, img_bench, img_bitmap, img_check, img_commit,
    img_compare, img_convert, img_create, img_dd, img_info, img_map, img_measure, img_rebase,
    img_resize, img_snapshot;

const struct img_command *const img_commands[] = {
    &img_amend,    &img_bench,  &img_bitmap, &img_check, &img_commit, &img_compare,
    &img_convert,  &img_create, &img_dd,     &img_info,  &img_map,    &img_measure,
    &img_snapshot, &img_rebase, &img_resize, NULL,
};

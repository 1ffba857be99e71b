/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dump.h - JSON as the image tools show it to people: "key: value", indented. */
#pragma once

#include "codec/json.h"

/* depth: how far in, four spaces each. */
void info_dump(struct json_object *o, int depth);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* flatten.h - JSON objects as options: {"a": {"b": 1}} is a.b=1, arrays are a.0, a.1 ... */
#pragma once

#include "base/err.h"
#include "codec/json.h"
#include "codec/keyval.h"

/* null is the empty text. */
int json_to_keyval(struct json_object *o, struct keyval **ret, struct err **err) MUST_CHECK;
/* Text that may be either form: JSON when it begins with a brace, else as keyval_parse(). */
int keyval_parse_any(const char *text, const char *implied, bool flags, struct keyval **ret,
                     struct err **err) MUST_CHECK;

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/image/dump.h"

#include <stdio.h>

static void dump_member(const char *name, struct json_object *v, int depth, bool list)
{
    bool nested =
        json_object_is_type(v, json_type_object) || json_object_is_type(v, json_type_array);

    if (list) {
        printf("%*s[%s]:%s", depth * 4, "", name, nested ? "\n" : " ");
    } else {
        char key[128];

        (void)snprintf(key, sizeof(key), "%s", name);
        for (char *p = key; *p != '\0'; p++) {
            *p = *p == '-' ? ' ' : *p;
        }
        printf("%*s%s:%s", depth * 4, "", key, nested ? "\n" : " ");
    }
    if (nested) {
        info_dump(v, depth + 1);
    } else if (json_object_is_type(v, json_type_boolean)) {
        printf("%s\n", json_object_get_boolean(v) ? "true" : "false");
    } else {
        printf("%s\n", json_object_get_string(v));
    }
}

void info_dump(struct json_object *o, int depth)
{
    if (json_object_is_type(o, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(o); i++) {
            char name[24];

            (void)snprintf(name, sizeof(name), "%zu", i);
            dump_member(name, json_object_array_get_idx(o, i), depth, true);
        }
        return;
    }
    json_object_object_foreach(o, key, v)
    {
        dump_member(key, v, depth, false);
    }
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* print.c - image information for people, and JSON as qemu-img lays it out. */
#include "tools/image/dump.h"
#include "tools/img/img.h"

#include "base/str.h"
#include "codec/json.h"
#include "codec/size.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static void indent(int n)
{
    printf("%*s", n * 4, "");
}

static void print_value(struct json_object *o, int depth)
{
    if (json_object_is_type(o, json_type_object)) {
        size_t left = (size_t)json_object_object_length(o);

        printf("{\n");
        json_object_object_foreach(o, key, v)
        {
            AUTO_JSON struct json_object *name = json_object_new_string(key);

            indent(depth + 1);
            printf("%s: ", json_object_to_json_string_ext(name, JSON_C_TO_STRING_NOSLASHESCAPE));
            print_value(v, depth + 1);
            printf("%s\n", --left > 0 ? "," : "");
        }
        indent(depth);
        printf("}");
    } else if (json_object_is_type(o, json_type_array)) {
        size_t n = json_object_array_length(o);

        printf("[\n");
        for (size_t i = 0; i < n; i++) {
            indent(depth + 1);
            print_value(json_object_array_get_idx(o, i), depth + 1);
            printf("%s\n", i + 1 < n ? "," : "");
        }
        indent(depth);
        printf("]");
    } else {
        printf("%s", json_object_to_json_string_ext(o, JSON_C_TO_STRING_NOSLASHESCAPE));
    }
}

void img_print_json(struct json_object *o)
{
    print_value(o, 0);
    printf("\n");
}

static const char *text_of(struct json_object *o, const char *key)
{
    struct json_object *v = json_member(o, key);

    return v != NULL ? json_object_get_string(v) : NULL;
}

static uint64_t number_of(struct json_object *o, const char *key)
{
    struct json_object *v = json_member(o, key);

    return v != NULL ? json_object_get_uint64(v) : 0;
}

void img_dump_snapshots(struct json_object *snapshots)
{
    printf("Snapshot list:\n");
    printf("%-9s %-16s %8s%20s%13s%11s\n", "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK", "ICOUNT");
    for (size_t i = 0; i < json_object_array_length(snapshots); i++) {
        struct json_object *sn = json_object_array_get_idx(snapshots, i);
        char size[SIZE_TEXT_BYTES];
        char date[64];
        char clock[64];
        char icount[32] = "";
        time_t t = (time_t)number_of(sn, "date-sec");
        uint64_t secs = number_of(sn, "vm-clock-sec");
        struct tm tm;

        (void)localtime_r(&t, &tm);
        (void)strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
        (void)snprintf(clock, sizeof(clock), "%02d:%02d:%02d.%03d", (int)(secs / 3600),
                       (int)(secs / 60 % 60), (int)(secs % 60),
                       (int)(number_of(sn, "vm-clock-nsec") / 1000000));
        if (json_member(sn, "icount") != NULL) {
            (void)snprintf(icount, sizeof(icount), "%" PRIu64, number_of(sn, "icount"));
        }
        printf("%-9s %-16s %8s%20s%13s%11s\n", text_of(sn, "id"), text_of(sn, "name"),
               size_format(number_of(sn, "vm-state-size"), size), date, clock, icount);
    }
}

void img_dump_info(struct json_object *info)
{
    char size[SIZE_TEXT_BYTES];
    const char *backing = text_of(info, "backing-filename");
    const char *full = text_of(info, "full-backing-filename");
    struct json_object *specific = json_member(info, "format-specific");
    struct json_object *actual = json_member(info, "actual-size");

    printf("image: %s\nfile format: %s\n", text_of(info, "filename"), text_of(info, "format"));
    printf("virtual size: %s (%" PRIu64 " bytes)\n",
           size_format(number_of(info, "virtual-size"), size), number_of(info, "virtual-size"));
    printf("disk size: %s\n",
           actual != NULL ? size_format(json_object_get_uint64(actual), size) : "unavailable");
    if (json_member(info, "encrypted") != NULL) {
        printf("encrypted: yes\n");
    }
    if (json_member(info, "cluster-size") != NULL) {
        printf("cluster_size: %" PRIu64 "\n", number_of(info, "cluster-size"));
    }
    if (json_member(info, "dirty-flag") != NULL &&
        json_object_get_boolean(json_member(info, "dirty-flag"))) {
        printf("cleanly shut down: no\n");
    }
    if (backing != NULL) {
        printf("backing file: %s", backing);
        if (full == NULL) {
            printf(" (cannot determine actual path)");
        } else if (!str_eq(backing, full)) {
            printf(" (actual path: %s)", full);
        }
        printf("\n");
        if (text_of(info, "backing-filename-format") != NULL) {
            printf("backing file format: %s\n", text_of(info, "backing-filename-format"));
        }
    }
    if (json_member(info, "snapshots") != NULL) {
        img_dump_snapshots(json_member(info, "snapshots"));
    }
    if (specific != NULL && json_object_object_length(json_member(specific, "data")) > 0) {
        printf("Format specific information:\n");
        info_dump(json_member(specific, "data"), 1);
    }
}

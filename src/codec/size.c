/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "codec/size.h"

#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>

const char *size_format(uint64_t bytes, char buf[SIZE_TEXT_BYTES])
{
    static const char *const units[] = { "", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei" };
    int exp = 0;
    int i;

    /* Scaling by 1000/1024 keeps three digits: 1000 KiB becomes 0.977 MiB. */
    (void)frexp((double)bytes / (1000.0 / 1024.0), &exp);
    i = exp > 0 ? (exp - 1) / 10 : 0;
    (void)snprintf(buf, SIZE_TEXT_BYTES, "%0.3g %sB", (double)bytes / (double)(1ull << (i * 10)),
                   units[i]);
    return buf;
}

int duration_parse(const char *s, uint64_t *ret_usec)
{
    static const struct {
        const char *name;
        double usec;
    } units[] = { { "", 1e6 }, { "s", 1e6 },  { "ms", 1e3 },
                  { "us", 1 }, { "m", 60e6 }, { "h", 3600e6 } };
    char *end;
    double v;

    if (!isdigit((unsigned char)*s)) {
        return -EINVAL;
    }
    v = strtod(s, &end);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (str_eq(end, units[i].name)) {
            if (v * units[i].usec > 1e18) {
                return -ERANGE;
            }
            *ret_usec = (uint64_t)(v * units[i].usec);
            return 0;
        }
    }
    return -EINVAL;
}

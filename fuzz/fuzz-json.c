/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "codec/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_JSON struct json_object *o = NULL;

    (void)!json_parse((const char *)data, size, &o, NULL);
    return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "codec/keyval.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    AUTO_FREE char *text = strndup((const char *)data, size);

    if (keyval_parse(text, "driver", true, &kv, NULL) == 0) {
        (void)keyval_get(kv, "id");
        (void)!keyval_check_used(kv, NULL);
    }
    return 0;
}

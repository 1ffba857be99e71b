/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP requests: parsed, looked up, their arguments checked, and run on a machine without CPUs. */
#include "../tests/vmm/board.h"
#include "vmm/qmp/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_JSON struct json_object *request = NULL;
    AUTO_JSON struct json_object *ret = NULL;
    CLEANUP(err_freep) struct err *err = NULL;
    const char *name = NULL;
    const char *cls;
    struct board b;

    if (json_parse((const char *)data, size, &request, NULL) < 0 ||
        !json_object_is_type(request, json_type_object) ||
        json_get_str(request, "execute", &name, NULL) < 0) {
        return 0;
    }
    board_init(&b);
    (void)qmp_dispatch(b.m, name, json_member(request, "arguments"), &ret, &cls, &err);
    board_done(&b);
    return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/cpuid.h"

#include "unit.h"

#include <errno.h>
#include <string.h>

static void test_models(void **state)
{
    struct cpu_model *m = NULL;

    (void)state;
    assert_int_equal(cpu_model_parse("Haswell,-avx2,+sha-ni,aes=off", 2, &m, NULL), 0);
    assert_true(cpu_model_has(m, "bmi2"));
    assert_true(cpu_model_has(m, "ssse3")); /* from a parent's parent */
    assert_false(cpu_model_has(m, "avx2"));
    assert_true(cpu_model_has(m, "sha-ni"));
    assert_false(cpu_model_has(m, "aes"));
    m = cpu_model_free(m);
    assert_int_equal(cpu_model_parse("Haswell-noTSX", 1, &m, NULL), 0);
    assert_false(cpu_model_has(m, "rtm"));
    m = cpu_model_free(m);
    assert_int_equal(cpu_model_parse("max", 1, &m, NULL), 0);
    assert_true(cpu_model_has(m, "avx512f"));
    m = cpu_model_free(m);
    assert_int_equal(cpu_model_parse("nothing", 1, &m, NULL), -EINVAL);
    assert_int_equal(cpu_model_parse("max,+nothing", 1, &m, NULL), -EINVAL);
    assert_int_equal(cpu_model_parse("max,aes=maybe", 1, &m, NULL), -EINVAL);
}

static void test_identity(void **state)
{
    struct cpu_model *m = NULL;

    (void)state;
    assert_int_equal(cpu_model_parse("max,vendor=GenuineIntel,family=6,stepping=0,level=0xd,"
                                     "phys-bits=36,model-id=Some CPU",
                                     1, &m, NULL),
                     0);
    assert_string_equal(m->own.vendor, "GenuineIntel");
    assert_true(m->own.has_family && m->own.has_stepping && !m->own.has_model);
    assert_int_equal(m->own.family, 6);
    assert_int_equal(m->own.level, 0xd);
    assert_int_equal(m->own.phys_bits, 36);
    assert_string_equal(m->own.brand, "Some CPU");
    m = cpu_model_free(m);
    assert_int_equal(cpu_model_parse("IvyBridge,phys-bits=36,host-phys-bits=off", 1, &m, NULL), 0);
    assert_int_equal(m->own.phys_bits, 36);
    m = cpu_model_free(m);
    assert_int_equal(cpu_model_parse("max,vendor=Intel", 1, &m, NULL), -EINVAL);
    assert_int_equal(cpu_model_parse("max,phys-bits=64", 1, &m, NULL), -EINVAL);
    assert_int_equal(cpu_model_parse("max,stepping=", 1, &m, NULL), -EINVAL);
}

/* The tables' words are features, parents exist, names are unique. */
static void test_tables(void **state)
{
    (void)state;
    for (const struct cpu_model_def *d = cpu_models; d->name != NULL; d++) {
        assert_ptr_equal(cpu_model_find(d->name), d);
        assert_true(d->parent == NULL || cpu_model_find(d->parent) < d);
        for (const char *list = d->add; list != NULL && *list != '\0';) {
            size_t len = strcspn(list, " ");
            AUTO_FREE char *name = strndup(list, len);

            assert_non_null(cpu_feature_find(name));
            list += len + strspn(list + len, " ");
        }
    }
    assert_ptr_equal(cpu_feature_find("sse4_1"), cpu_feature_find("sse4.1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_models),
                                        cmocka_unit_test(test_identity),
                                        cmocka_unit_test(test_tables) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

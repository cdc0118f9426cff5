/* Which binaries are text. */
#ifndef ERLANG_PYTHON_CONVERT_UTF8_H
#define ERLANG_PYTHON_CONVERT_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Whether size bytes are UTF-8 as Python's strict decoder takes it: shortest forms only, no
 * surrogates, nothing beyond U+10FFFF (Unicode 15, table 3-7). Asked first, since Python's answer
 * to invalid text is an exception with a copy of the whole input.
 */
bool utf8_is_valid(const unsigned char *data, size_t size);

#endif

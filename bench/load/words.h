/* SPDX-License-Identifier: MIT */
/* KEY=VALUE arguments that stand behind the others. */
#ifndef L7_WORDS_H
#define L7_WORDS_H

#include "load.h"

struct word {
	const char *key;
	uint64_t low, high;
	uint64_t value; /* the default, until it is given */
};

static inline void read_words(char **words, int count, struct word *known, size_t size)
{
	for (int i = 0; i < count; i++) {
		const char *equals = strchr(words[i], '=');
		size_t at = 0;

		while (at < size && !(equals && strlen(known[at].key) == (size_t)(equals - words[i]) &&
				      !strncmp(known[at].key, words[i], (size_t)(equals - words[i]))))
			at++;
		if (at == size) {
			errno = 0;
			fail("unknown argument '%s'", words[i]);
		}
		known[at].value = number(equals + 1, known[at].low, known[at].high, known[at].key);
	}
}

#endif

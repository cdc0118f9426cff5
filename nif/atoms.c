#include "atoms.h"

atom_table atoms;

void atoms_load(ErlNifEnv *env) {
#define ATOM(name) atoms.name = enif_make_atom(env, #name);
    ATOMS(ATOM)
#undef ATOM
}

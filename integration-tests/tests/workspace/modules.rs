//! The modules of one target of a crate as its files declare them, the names each defines and imports, and the paths
//! each mentions. Modules, functions and imports of tests are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, Meta, UseTree};

/// The imports of an import that is imported again, and so on; more is a name that stands for itself.
const MOST_HOPS: usize = 16;

type Segments = Vec<String>;

struct Module {
    file: usize,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    items: BTreeSet<String>,
    /// The name in this module and the path that it stands for.
    imports: Vec<(String, Segments)>,
    globs: Vec<Segments>,
    mentions: BTreeSet<Segments>,
}

enum Found {
    Module(usize),
    Item,
}

/// What ties a file to another one: the names it takes from there.
pub(crate) type Ties = BTreeMap<(PathBuf, PathBuf), BTreeSet<String>>;

#[derive(Default)]
pub(crate) struct Modules {
    modules: Vec<Module>,
    files: Vec<PathBuf>,
}

impl Modules {
    /// Reads the target whose first file this is: `lib.rs`, `main.rs`, a file of `bin`.
    pub(crate) fn read(root: &Path) -> Self {
        let mut modules = Self::default();
        let directory = root.parent().unwrap();
        modules.read_file(root, directory, None);
        modules
    }

    fn read_file(&mut self, file: &Path, children: &Path, parent: Option<usize>) -> usize {
        let text =
            std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.files.push(file.to_owned());
        self.read_module(&parsed.items, self.files.len() - 1, children, parent)
    }

    fn read_module(&mut self, items: &[Item], file: usize, children: &Path, parent: Option<usize>) -> usize {
        let this = self.modules.len();
        self.modules.push(Module {
            file,
            parent,
            children: BTreeMap::new(),
            items: BTreeSet::new(),
            imports: Vec::new(),
            globs: Vec::new(),
            mentions: BTreeSet::new(),
        });
        for item in items.iter().filter(|item| !of_tests(item_attributes(item))) {
            match item {
                Item::Mod(module) => {
                    let name = plain(&module.ident);
                    let child = match &module.content {
                        Some((_, items)) => self.read_module(items, file, &children.join(&name), Some(this)),
                        None => {
                            let (found, below) = self.file_of(&module.attrs, &name, file, children);
                            self.read_file(&found, &below, Some(this))
                        }
                    };
                    self.modules[this].children.insert(name, child);
                }
                item => {
                    self.modules[this].items.extend(item_name(item));
                    self.modules[this].visit_item(item);
                }
            }
        }
        this
    }

    /// The file of the declaration `mod name;`, and the directory of the files of its own children.
    fn file_of(
        &self,
        attributes: &[Attribute],
        name: &str,
        file: usize,
        children: &Path,
    ) -> (PathBuf, PathBuf) {
        let path = attributes.iter().find(|attribute| attribute.path().is_ident("path"));
        if let Some(Meta::NameValue(value)) = path.map(|attribute| &attribute.meta)
            && let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(path), .. }) = &value.value
        {
            let found = self.files[file].parent().unwrap().join(path.value());
            let below = found.parent().unwrap().to_owned();
            return (found, below);
        }
        (children.join(format!("{name}.rs")), children.join(name))
    }

    /// Every tie between two files of which neither holds a module above the other's.
    pub(crate) fn ties(&self) -> Ties {
        let mut ties = Ties::new();
        for (this, module) in self.modules.iter().enumerate() {
            let imports = module.imports.iter().map(|(_, path)| path);
            for path in imports.chain(&module.globs).chain(&module.mentions) {
                let mut touched = BTreeSet::new();
                let found = self.follow(this, path, &mut touched, 0);
                // A lone name that stands for a module is a variable of that name, or an import seen already.
                if found.is_none() || matches!(found, Some(Found::Module(_))) && path.len() == 1 {
                    continue;
                }
                for other in touched.into_iter().filter(|other| !self.related(this, *other)) {
                    let file = |module: usize| self.files[self.modules[module].file].clone();
                    ties.entry((file(this), file(other))).or_default().insert(path.last().unwrap().clone());
                }
            }
        }
        ties
    }

    /// Whether one file is the other's, or has a module above it.
    fn related(&self, one: usize, other: usize) -> bool {
        let file = |module: usize| self.modules[module].file;
        let above =
            |module: usize| std::iter::successors(Some(module), |module| self.modules[*module].parent);
        above(one).any(|module| file(module) == file(other))
            || above(other).any(|module| file(module) == file(one))
    }

    /// Where a path leads from a module, if not out of the crate; `touched` are the modules that define or hand on what
    /// it names.
    fn follow(
        &self,
        from: usize,
        path: &[String],
        touched: &mut BTreeSet<usize>,
        hops: usize,
    ) -> Option<Found> {
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => 0,
            "self" => from,
            "super" => self.modules[from].parent?,
            _ => {
                rest = path;
                from
            }
        };
        while let Some((next, after)) = rest.split_first() {
            let module = &self.modules[at];
            at = match next.as_str() {
                "super" => module.parent?,
                name => match module.children.get(name) {
                    Some(child) => *child,
                    None => return self.look_up(at, rest, touched, hops),
                },
            };
            rest = after;
        }
        touched.insert(at);
        Some(Found::Module(at))
    }

    /// What the module defines or imports under the first of these names.
    fn look_up(
        &self,
        at: usize,
        rest: &[String],
        touched: &mut BTreeSet<usize>,
        hops: usize,
    ) -> Option<Found> {
        let module = &self.modules[at];
        let (name, after) = rest.split_first()?;
        if module.items.contains(name) {
            touched.insert(at);
            return Some(Found::Item);
        }
        if hops > MOST_HOPS {
            return None;
        }
        if let Some((_, path)) = module.imports.iter().find(|(imported, _)| imported == name) {
            touched.insert(at);
            return match self.follow(at, path, touched, hops + 1)? {
                Found::Module(other) if !after.is_empty() => {
                    let below = [vec!["self".to_owned()], after.to_vec()].concat();
                    self.follow(other, &below, touched, hops + 1)
                }
                found => Some(found),
            };
        }
        module.globs.iter().find_map(|glob| {
            let mut further = BTreeSet::from([at]);
            let Found::Module(other) = self.follow(at, glob, &mut BTreeSet::new(), hops + 1)? else {
                return None;
            };
            let below = [vec!["self".to_owned()], rest.to_vec()].concat();
            let found = self.follow(other, &below, &mut further, hops + 1)?;
            touched.extend(further);
            Some(found)
        })
    }
}

impl Module {
    fn import(&mut self, tree: &UseTree, before: &[String]) {
        let with = |last: &syn::Ident| [before, &[plain(last)]].concat();
        match tree {
            UseTree::Path(path) => self.import(&path.tree, &with(&path.ident)),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(tree, before)),
            UseTree::Glob(_) => self.globs.push(before.to_vec()),
            UseTree::Name(name) if name.ident == "self" => {
                self.import_as(before.last().cloned(), before.to_vec())
            }
            UseTree::Name(name) => self.import_as(Some(plain(&name.ident)), with(&name.ident)),
            UseTree::Rename(name) if name.ident == "self" => {
                self.import_as(Some(plain(&name.rename)), before.to_vec());
            }
            UseTree::Rename(name) => self.import_as(Some(plain(&name.rename)), with(&name.ident)),
        }
    }

    fn import_as(&mut self, name: Option<String>, path: Segments) {
        // `use tokio;` stands for itself.
        if let Some(name) = name.filter(|name| path.as_slice() != [name.clone()]) {
            self.imports.push((name, path));
        }
    }

    /// The paths in the text of a macro or an attribute, which syn does not parse: names with `::` between them. In an
    /// attribute, serde's, strings are paths as well.
    fn scan(&mut self, tokens: &TokenStream, strings: bool) {
        let (mut path, mut colons) = (Segments::new(), 0);
        for token in tokens.clone() {
            match &token {
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => {
                    colons += 1;
                    continue;
                }
                TokenTree::Ident(ident) if colons == 2 => path.push(plain(ident)),
                other => {
                    self.mentions.insert(std::mem::take(&mut path));
                    match other {
                        TokenTree::Ident(ident) => path.push(plain(ident)),
                        TokenTree::Group(group) => self.scan(&group.stream(), strings),
                        TokenTree::Literal(literal) if strings => {
                            let text = literal.to_string();
                            let path = syn::parse_str::<syn::Path>(text.trim_matches('"'));
                            path.iter().for_each(|path| self.visit_path(path));
                        }
                        TokenTree::Literal(_) | TokenTree::Punct(_) => {}
                    }
                }
            }
            colons = 0;
        }
        self.mentions.insert(path);
    }
}

impl<'ast> Visit<'ast> for Module {
    fn visit_item(&mut self, item: &'ast Item) {
        if !of_tests(item_attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let tests = matches!(item, ImplItem::Fn(function) if of_tests(&function.attrs));
        if !tests {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if item.leading_colon.is_none() {
            self.import(&item.tree, &[]);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            self.mentions.insert(path.segments.iter().map(|segment| plain(&segment.ident)).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, invoked: &'ast syn::Macro) {
        self.visit_path(&invoked.path);
        self.scan(&invoked.tokens, false);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.scan(&list.tokens, true);
        }
    }
}

fn plain(ident: &syn::Ident) -> String {
    let text = ident.to_string();
    text.strip_prefix("r#").map(str::to_owned).unwrap_or(text)
}

/// Whether what has these attributes is there for tests only.
fn of_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        Meta::NameValue(_) => false,
    })
}

fn item_attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn item_name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(plain(ident))
}

//! Checks the schemas of tables and indexes as CreateTable and UpdateTable give them.

use crate::api;
use crate::error::Error;
use crate::item::Kind;
use crate::key::{KeyAttribute, KeySchema};
use crate::table::{Capacity, Index, IndexProjection};

/// Most local indexes of a table.
const LOCAL_MAX: usize = 5;
/// Most global indexes of a table.
const GLOBAL_MAX: usize = 20;
/// Most provisioned units of a kind.
const UNITS_MAX: i64 = 1_000_000_000_000;
/// Most attributes that the indexes of a table include by name, together.
const INCLUDED_MAX: usize = 100;

pub(super) fn invalid(why: impl std::fmt::Display) -> Error {
    Error::validation(format!("One or more parameter values were invalid: {why}"))
}

/// The declared attributes.
///
/// # Errors
/// `ValidationException` for one that is declared twice.
pub(super) fn attributes(definitions: &[api::AttributeDefinition]) -> Result<Vec<KeyAttribute>, Error> {
    let mut out: Vec<KeyAttribute> = Vec::new();
    for definition in definitions {
        if out.iter().any(|a| a.name == definition.attribute_name) {
            let name = &definition.attribute_name;
            return Err(invalid(format!("Duplicate AttributeName in AttributeDefinitions: {name}")));
        }
        let kind = Kind::of_name(&definition.attribute_type).unwrap_or(Kind::S);
        out.push(KeyAttribute { name: definition.attribute_name.clone(), kind });
    }
    Ok(out)
}

/// A key schema fitted to the declared attributes.
///
/// # Errors
/// `ValidationException` for another form than HASH or HASH and RANGE, or undeclared attributes.
pub(super) fn key_schema(
    elements: &[api::KeySchemaElement],
    attributes: &[KeyAttribute],
    is_table: bool,
) -> Result<KeySchema, Error> {
    let (hash, range) = match elements {
        [hash] => (hash, None),
        [hash, range] => (hash, Some(range)),
        _ => return Err(invalid("1 or 2 KeySchemaElements are required")),
    };
    if hash.key_type != "HASH" {
        return Err(Error::validation("Invalid KeySchema: The first KeySchemaElement is not a HASH key type"));
    }
    if let Some(range) = range {
        if range.key_type != "RANGE" {
            return Err(Error::validation("Invalid KeySchema: The second KeySchemaElement is not a RANGE key type"));
        }
        if range.attribute_name == hash.attribute_name {
            return Err(Error::validation(
                "Both the Hash Key and the Range Key element in the KeySchema have the same name",
            ));
        }
    }
    let declared = |e: &api::KeySchemaElement| {
        attributes.iter().find(|a| a.name == e.attribute_name).cloned().ok_or_else(|| {
            if is_table {
                return Error::validation("Invalid KeySchema: Some index key attribute have no definition");
            }
            let keys: Vec<&str> = elements.iter().map(|e| e.attribute_name.as_str()).collect();
            invalid(format!(
                "Some index key attributes are not defined in AttributeDefinitions. Keys: [{}], AttributeDefinitions: [{}]",
                keys.join(", "),
                names(attributes)
            ))
        })
    };
    Ok(KeySchema { hash: declared(hash)?, range: range.map(declared).transpose()? })
}

fn names(attributes: &[KeyAttribute]) -> String {
    attributes.iter().map(|a| a.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// What an index is asked to be, local or global.
pub(super) struct Wanted<'a> {
    pub name: &'a str,
    pub local: bool,
    pub elements: &'a [api::KeySchemaElement],
    pub projection: &'a api::Projection,
    pub throughput: Option<&'a api::ProvisionedThroughput>,
    pub most: Option<&'a api::OnDemandThroughput>,
    pub warm: Option<&'a api::WarmThroughput>,
}

/// An index, checked alone; its id is still 0.
///
/// # Errors
/// `ValidationException`.
pub(super) fn index(
    wanted: &Wanted<'_>,
    table: &KeySchema,
    attributes: &[KeyAttribute],
    on_demand: bool,
) -> Result<Index, Error> {
    let name = wanted.name;
    let schema = key_schema(wanted.elements, attributes, false)?;
    if wanted.local {
        if table.range.is_none() {
            return Err(invalid(
                "Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex",
            ));
        }
        if schema.range.is_none() {
            return Err(invalid(format!("Index KeySchema does not have a range key for index: {name}")));
        }
        if schema.hash.name != table.hash.name {
            return Err(invalid(format!(
                "Index KeySchema does not have the same leading hash key as table KeySchema for index: {name}. index hash \
                 key: {}, table hash key: {}",
                schema.hash.name, table.hash.name
            )));
        }
    }
    let capacity = match (wanted.local, on_demand, wanted.throughput) {
        (true, ..) | (_, true, None) => Capacity::default(),
        (_, true, Some(_)) => {
            return Err(invalid(format!(
                "ProvisionedThroughput should not be specified for index: {name} when BillingMode is PAY_PER_REQUEST"
            )));
        }
        (_, false, Some(t)) => capacity(t, Some(name))?,
        (_, false, None) => {
            return Err(invalid(format!("ProvisionedThroughput must be specified for index: {name}")));
        }
    };
    Ok(Index {
        id: 0,
        name: name.to_owned(),
        local: wanted.local,
        schema,
        projection: projection(wanted.projection)?,
        capacity,
        backfilling: false,
        most: most(wanted.most, on_demand)?,
        warm: warm(wanted.warm)?,
    })
}

/// Provisioned units within bounds; `index` is the one that they are for.
///
/// # Errors
/// `ValidationException` for more than any table may have.
pub(super) fn capacity(asked: &api::ProvisionedThroughput, index: Option<&str>) -> Result<Capacity, Error> {
    let (read, write) = (asked.read_capacity_units, asked.write_capacity_units);
    for (name, units) in [("ReadCapacityUnits", read), ("WriteCapacityUnits", write)] {
        if units > UNITS_MAX {
            let place = index.map(|i| format!(" for index {i}")).unwrap_or_default();
            return Err(Error::validation(format!("Given value {units} for {name} is out of bounds{place}")));
        }
    }
    Ok(Capacity { read, write })
}

/// The bounds of `OnDemandThroughput`; 0 where there is none (the service's word for that is -1).
///
/// # Errors
/// `ValidationException` for numbers that bound nothing, or a table that is not on demand.
pub(super) fn most(asked: Option<&api::OnDemandThroughput>, on_demand: bool) -> Result<Capacity, Error> {
    let Some(asked) = asked else { return Ok(Capacity::default()) };
    if !on_demand {
        return Err(invalid("OnDemandThroughput can only be specified when BillingMode is PAY_PER_REQUEST"));
    }
    let one = |name: &str, n: Option<i64>| match n {
        None | Some(-1) => Ok(0),
        Some(n) if n >= 1 => Ok(n),
        Some(n) => Err(invalid(format!("{name} must be -1 or at least 1, got {n}"))),
    };
    Ok(Capacity {
        read: one("MaxReadRequestUnits", asked.max_read_request_units)?,
        write: one("MaxWriteRequestUnits", asked.max_write_request_units)?,
    })
}

/// Warm throughput as asked for: nothing here has to warm up, so any number is met.
///
/// # Errors
/// `ValidationException` for numbers below what every table has.
pub(super) fn warm(asked: Option<&api::WarmThroughput>) -> Result<Option<Capacity>, Error> {
    let Some(asked) = asked else { return Ok(None) };
    let one = |name: &str, n: Option<i64>, least: i64| match n {
        None => Ok(least),
        Some(n) if n >= 1 => Ok(n),
        Some(n) => Err(invalid(format!("{name} must be at least 1, got {n}"))),
    };
    Ok(Some(Capacity {
        read: one("ReadUnitsPerSecond", asked.read_units_per_second, super::describe::WARM_ON_DEMAND.read)?,
        write: one("WriteUnitsPerSecond", asked.write_units_per_second, super::describe::WARM_ON_DEMAND.write)?,
    }))
}

fn projection(asked: &api::Projection) -> Result<IndexProjection, Error> {
    let more = asked.non_key_attributes.clone();
    match (asked.projection_type.as_deref(), more) {
        (Some("ALL"), None) => Ok(IndexProjection::All),
        (Some("KEYS_ONLY"), None) => Ok(IndexProjection::KeysOnly),
        (Some("INCLUDE"), Some(names)) => Ok(IndexProjection::Include(names)),
        (Some("INCLUDE"), None) => Err(invalid("ProjectionType is INCLUDE, but NonKeyAttributes is not specified")),
        (Some(kind), _) => Err(invalid(format!("ProjectionType is {kind}, but NonKeyAttributes is specified"))),
        (None, _) => Err(invalid("Unknown ProjectionType: null")),
    }
}

/// Checks what concerns all indexes together.
///
/// # Errors
/// `ValidationException` for too many indexes, a name twice, or declared attributes that no key uses.
pub(super) fn check_together(schema: &KeySchema, indexes: &[Index], attributes: &[KeyAttribute]) -> Result<(), Error> {
    if indexes.iter().filter(|i| i.local).count() > LOCAL_MAX {
        return Err(invalid(format!("Number of LocalSecondaryIndexes exceeds per-table limit of {LOCAL_MAX}")));
    }
    if indexes.iter().filter(|i| !i.local).count() > GLOBAL_MAX {
        return Err(invalid(format!("GlobalSecondaryIndex count exceeds the per-table limit of {GLOBAL_MAX}")));
    }
    let included = indexes.iter().map(|i| match &i.projection {
        IndexProjection::Include(names) => names.len(),
        _ => 0,
    });
    if included.sum::<usize>() > INCLUDED_MAX {
        return Err(invalid(format!(
            "Number of NonKeyAttributes of all indexes together exceeds the per-table limit of {INCLUDED_MAX}"
        )));
    }
    for (at, index) in indexes.iter().enumerate() {
        if indexes[..at].iter().any(|other| other.name == index.name) {
            return Err(invalid(format!("Duplicate index name: {}", index.name)));
        }
    }
    let used = |name: &str| schema.has(name) || indexes.iter().any(|i| i.schema.has(name));
    if attributes.iter().all(|a| used(&a.name)) {
        return Ok(());
    }
    if indexes.is_empty() {
        return Err(invalid(
            "Number of attributes in KeySchema does not exactly match number of attributes defined in \
             AttributeDefinitions",
        ));
    }
    let keys: Vec<&str> = attributes.iter().map(|a| a.name.as_str()).filter(|n| used(n)).collect();
    Err(invalid(format!(
        "Some AttributeDefinitions are not used. AttributeDefinitions: [{}], keys used: [{}]",
        names(attributes),
        keys.join(", ")
    )))
}

/// Refuses a setting that would have no effect here.
///
/// # Errors
/// `ValidationException` naming it, when it is there.
pub(super) fn refuse<T>(setting: &Option<T>, name: &str) -> Result<(), Error> {
    match setting {
        Some(_) => Err(Error::Unsupported(format!("{name} is not supported by this cloud"))),
        None => Ok(()),
    }
}

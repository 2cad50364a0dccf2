//! A row for each group: its state, who coordinates it and who assigns its partitions.

use super::{View, kind_name};
use crate::cli::client::Client;
use crate::cli::group::description::Group;
use crate::cli::output::fields;
use crate::cli::table::Column;

const COLUMNS: [Column; 8] = [
    Column::left("group"),
    Column::left("type"),
    Column::left("state"),
    Column::left("coordinator"),
    Column::left("assignor"),
    Column::right("epoch").if_any(),
    Column::right("target epoch").if_any(),
    Column::right("members"),
];

pub(super) fn view(client: &Client, groups: &[Group]) -> View {
    let mut view = View::new(&COLUMNS);
    for group in groups {
        let id = client.coordinator_of(&group.name);
        let address = id.and_then(|id| client.address_of(id).ok());
        push(&mut view, group, id, address);
    }
    view
}

fn push(view: &mut View, group: &Group, id: Option<i32>, address: Option<String>) {
    let (epoch, target) = group
        .epochs
        .map(|epochs| (epochs.group, epochs.assignment))
        .unzip();
    let coordinator = id
        .zip(address.as_deref())
        .map(|(id, address)| format!("{address} ({id})"));
    let row = vec![
        Some(group.name.clone()),
        Some(kind_name(group.kind).to_owned()),
        Some(group.state.clone()),
        coordinator,
        group.assignor.clone(),
        epoch.map(|epoch| epoch.to_string()),
        target.map(|epoch| epoch.to_string()),
        Some(group.members.len().to_string()),
    ];
    let mut object = fields! { kind: "group", group: group.name.as_str() };
    object.insert("type".to_owned(), kind_name(group.kind).into());
    object.extend(fields! {
        state: group.state.as_str(), coordinator: address, coordinator_id: id, assignor: group.assignor.clone(),
        epoch: epoch, target_epoch: target, members: group.members.len(),
    });
    view.push(row, object);
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::cli::group::args::GroupType;
    use crate::cli::group::description::{Epochs, Member};

    fn group(kind: GroupType, epochs: Option<Epochs>) -> Group {
        Group {
            name: "g".to_owned(),
            kind,
            state: "Stable".to_owned(),
            assignor: Some("range".to_owned()),
            epochs,
            members: vec![Member::default()],
            unreadable: Vec::new(),
        }
    }

    #[test]
    fn only_the_consumer_protocol_has_epochs() {
        let mut view = View::new(&COLUMNS);
        push(
            &mut view,
            &group(GroupType::Classic, None),
            Some(1),
            Some("h:9092".to_owned()),
        );
        assert_eq!(
            view.table.lines(),
            [
                "group  type     state   coordinator  assignor  members",
                "g      classic  Stable  h:9092 (1)   range           1"
            ]
        );
        let epochs = Epochs {
            group: 3,
            assignment: 2,
        };
        push(&mut view, &group(GroupType::Consumer, Some(epochs)), None, None);
        assert_eq!(
            view.table.lines()[2],
            "g      consumer  Stable  -            range         3             2        1"
        );
        assert_eq!(
            Value::Object(view.objects[1].clone()).to_string(),
            r#"{"kind":"group","group":"g","type":"consumer","state":"Stable","coordinator":null,"coordinator_id":null,"#.to_owned()
                + r#""assignor":"range","epoch":3,"target_epoch":2,"members":1}"#
        );
    }
}
